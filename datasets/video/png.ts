import { AV_PIX_FMT_RGB24, FF_ENCODER_PNG } from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet, Rational } from 'node-av/lib';
import { ArmatureError } from '@armature/sdk/contract';
import './ffmpeg-log.ts';

/**
 * One picture as a PNG file.
 * @param rgb u8 [height, width, 3]
 * @throws ArmatureError `internal` from FFmpeg.
 */
export async function encodePng(
  rgb: Uint8Array,
  width: number,
  height: number,
): Promise<Uint8Array> {
  const encoder = Codec.findEncoderByName(FF_ENCODER_PNG);
  if (encoder === null) throw new ArmatureError('internal', 'FFmpeg has no PNG encoder');
  const codec = new CodecContext();
  const packet = new Packet();
  const frame = Frame.fromVideoBuffer(Buffer.from(rgb.buffer, rgb.byteOffset, rgb.length), {
    width,
    height,
    format: AV_PIX_FMT_RGB24,
    pts: 0n,
  });
  try {
    codec.allocContext3(encoder);
    codec.width = width;
    codec.height = height;
    codec.pixelFormat = AV_PIX_FMT_RGB24;
    codec.timeBase = new Rational(1, 1);
    check(await codec.open2(encoder));
    packet.alloc();
    check(await codec.sendFrame(frame));
    check(await codec.receivePacket(packet));
    if (packet.data === null) throw new ArmatureError('internal', 'the PNG encoder gave no bytes');
    return Uint8Array.from(packet.data);
  } finally {
    frame.free();
    packet.free();
    codec.freeContext();
  }
}

function check(status: number): void {
  if (status < 0) throw new ArmatureError('internal', `encoding a PNG failed (FFmpeg ${status})`);
}
