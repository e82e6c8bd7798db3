import {
  AVMEDIA_TYPE_VIDEO,
  AVERROR_EAGAIN,
  AVERROR_EOF,
  AVFMT_GLOBALHEADER,
  AV_CODEC_FLAG_GLOBAL_HEADER,
  AV_PIX_FMT_RGB24,
  FF_ENCODER_LIBX264RGB,
} from 'node-av/constants';
import {
  Codec,
  CodecContext,
  Dictionary,
  FormatContext,
  Frame,
  Packet,
  Rational,
} from 'node-av/lib';
import { ArmatureError } from '@armature/sdk/contract';
import './ffmpeg-log.ts';

/** How the encoder's pictures are described in a set's `info`. */
export const ENCODED = { codec: 'h264', pixelFormat: 'gbrp' } as const;

export interface EncodeOptions {
  readonly width: number;
  readonly height: number;
  readonly fps: number;
}

/**
 * Writes an mp4 of H.264 in lossless RGB: every pixel comes back as it was, which no subsampled
 * format gives for small pictures of strong colours. Key frames stand two apart, as LeRobot has
 * them, so that a single frame is found fast.
 * @param pictures u8 [height, width, 3] each
 * @throws ArmatureError `invalid_dataset` for a picture of another size; `internal` from FFmpeg.
 */
export async function encodeVideo(
  path: string,
  pictures: readonly Uint8Array[],
  options: EncodeOptions,
): Promise<void> {
  const { width, height, fps } = options;
  const encoder = Codec.findEncoderByName(FF_ENCODER_LIBX264RGB);
  if (encoder === null) throw failed('finding the encoder libx264rgb', 0);
  const format = new FormatContext();
  const codec = new CodecContext();
  const packet = new Packet();
  const settings = Dictionary.fromObject({ preset: 'ultrafast', qp: 0 });
  try {
    check(format.allocOutputContext2(null, 'mp4', path), 'starting the file');
    const timeBase = new Rational(1000, Math.round(fps * 1000));
    codec.allocContext3(encoder);
    codec.codecType = AVMEDIA_TYPE_VIDEO;
    codec.width = width;
    codec.height = height;
    codec.pixelFormat = AV_PIX_FMT_RGB24;
    codec.timeBase = timeBase;
    codec.framerate = new Rational(timeBase.den, timeBase.num);
    codec.gopSize = 2;
    codec.maxBFrames = 0;
    codec.threadCount = 1;
    if (format.oformat?.hasFlags(AVFMT_GLOBALHEADER) === true) {
      codec.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
    }
    check(await codec.open2(encoder, settings), 'opening the encoder');
    const stream = format.newStream(null);
    check(stream.codecpar.fromContext(codec), 'describing the stream');
    stream.timeBase = timeBase;
    stream.avgFrameRate = codec.framerate;
    check(await format.openOutput(), `opening ${path}`);
    check(await format.writeHeader(), 'writing the header');
    packet.alloc();

    const drain = async (): Promise<void> => {
      for (;;) {
        const status = codec.receivePacketSync(packet);
        if (status === AVERROR_EAGAIN || status === AVERROR_EOF) return;
        check(status, 'encoding');
        packet.streamIndex = stream.index;
        packet.duration = 1n;
        packet.rescaleTs(timeBase, stream.timeBase);
        check(format.interleavedWriteFrameSync(packet), 'writing a frame');
        packet.unref();
      }
    };
    for (const [index, pixels] of pictures.entries()) {
      const frame = toFrame(pixels, index, options);
      try {
        check(await codec.sendFrame(frame), 'encoding');
      } finally {
        frame.free();
      }
      await drain();
    }
    check(await codec.sendFrame(null), 'encoding');
    await drain();
    check(await format.writeTrailer(), 'writing the trailer');
  } finally {
    packet.free();
    codec.freeContext();
    await format.closeOutput();
    format.freeContext();
  }
}

function toFrame(pixels: Uint8Array, index: number, { width, height }: EncodeOptions): Frame {
  if (pixels.length !== width * height * 3) {
    throw new ArmatureError(
      'invalid_dataset',
      `picture ${index} has ${pixels.length} bytes, ${width}×${height} RGB has ${width * height * 3}`,
      { field: `frames[${index}]`, fix: 'Give every picture the size of its camera.' },
    );
  }
  const buffer = Buffer.from(pixels.buffer, pixels.byteOffset, pixels.length);
  return Frame.fromVideoBuffer(buffer, {
    width,
    height,
    format: AV_PIX_FMT_RGB24,
    pts: BigInt(index),
  });
}

function check(status: number, what: string): void {
  if (status < 0) throw failed(what, status);
}

function failed(what: string, status: number): ArmatureError {
  return new ArmatureError('internal', `${what} failed (FFmpeg error ${status})`);
}
