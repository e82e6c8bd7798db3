import {
  AV_CODEC_ID_MJPEG,
  AV_PIX_FMT_YUVJ420P,
  AVCOL_RANGE_JPEG,
  AVMEDIA_TYPE_VIDEO,
} from 'node-av/constants';
import {
  Codec,
  CodecContext,
  Dictionary,
  Frame,
  Packet,
  Rational,
  SoftwareScaleContext,
} from 'node-av/lib';
import { ArmatureError } from '@armature/sdk/contract';
import './ffmpeg-log.ts';

/** FFmpeg's quantiser, of 2 (best) to 31: a picture of 160 pixels takes a few kilobytes. */
const QUANTISER = '5';

export interface Jpeg {
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

/**
 * A decoded picture as a JPEG of at most `side` pixels a side, never larger than it was.
 * @throws ArmatureError `invalid_dataset` for a pixel format that cannot be converted; `internal`.
 */
export async function encodeJpeg(source: Frame, side: number): Promise<Jpeg> {
  const share = Math.min(1, side / Math.max(source.width, source.height));
  const width = Math.max(1, Math.round(source.width * share));
  const height = Math.max(1, Math.round(source.height * share));
  const codec = Codec.findEncoder(AV_CODEC_ID_MJPEG);
  if (codec === null) throw failed('finding the JPEG encoder', 0);
  const scaler = new SoftwareScaleContext();
  const frame = new Frame();
  const context = new CodecContext();
  const packet = new Packet();
  const settings = Dictionary.fromObject({ qmin: QUANTISER, qmax: QUANTISER });
  try {
    frame.alloc();
    frame.width = width;
    frame.height = height;
    frame.format = AV_PIX_FMT_YUVJ420P;
    frame.colorRange = AVCOL_RANGE_JPEG;
    frame.getBuffer(0);
    scaler.allocContext();
    const status = await scaler.scaleFrame(frame, source);
    if (status < 0) {
      throw new ArmatureError('invalid_dataset', `a picture cannot be scaled (FFmpeg ${status})`, {
        fix: 'Encode the video in a YUV or RGB pixel format.',
      });
    }
    frame.pts = 0n;
    context.allocContext3(codec);
    context.codecType = AVMEDIA_TYPE_VIDEO;
    context.width = width;
    context.height = height;
    context.pixelFormat = AV_PIX_FMT_YUVJ420P;
    context.colorRange = AVCOL_RANGE_JPEG;
    context.timeBase = new Rational(1, 1);
    context.threadCount = 1;
    check(await context.open2(codec, settings), 'opening the JPEG encoder');
    packet.alloc();
    check(await context.sendFrame(frame), 'encoding a JPEG');
    check(await context.receivePacket(packet), 'encoding a JPEG');
    if (packet.data === null) throw failed('encoding a JPEG', 0);
    return { width, height, bytes: Uint8Array.from(packet.data) };
  } finally {
    packet.free();
    context.freeContext();
    scaler.freeContext();
    frame.free();
  }
}

function check(status: number, what: string): void {
  if (status < 0) throw failed(what, status);
}

const failed = (what: string, status: number): ArmatureError =>
  new ArmatureError('internal', `${what} failed (FFmpeg error ${status})`);
