import {
  AV_CODEC_ID_MJPEG,
  AV_CODEC_ID_PNG,
  AV_PIX_FMT_RGB24,
  AV_PIX_FMT_YUVJ420P,
  AVMEDIA_TYPE_VIDEO,
  AV_PKT_FLAG_KEY,
} from 'node-av/constants';
import { FormatContext, Packet, Rational } from 'node-av/lib';

/** Writes an mp4 of one PNG or JPEG as it is, of `side` pixels by its own word. */
export async function muxPicture(path: string, picture: Buffer, side: number): Promise<void> {
  const isPng = picture[0] === 0x89;
  const format = new FormatContext();
  const packet = new Packet();
  const ok = (status: number): void => {
    if (status < 0) throw new Error(`FFmpeg ${status}`);
  };
  try {
    ok(format.allocOutputContext2(null, 'mp4', path));
    const stream = format.newStream(null);
    const { codecpar } = stream;
    codecpar.codecType = AVMEDIA_TYPE_VIDEO;
    codecpar.codecId = isPng ? AV_CODEC_ID_PNG : AV_CODEC_ID_MJPEG;
    codecpar.width = side;
    codecpar.height = side;
    codecpar.format = isPng ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_YUVJ420P;
    stream.timeBase = new Rational(1, 10);
    ok(await format.openOutput());
    ok(await format.writeHeader());
    packet.alloc();
    packet.data = picture;
    packet.pts = 0n;
    packet.dts = 0n;
    packet.duration = 1n;
    packet.flags = AV_PKT_FLAG_KEY;
    packet.streamIndex = 0;
    ok(format.interleavedWriteFrameSync(packet));
    ok(await format.writeTrailer());
  } finally {
    packet.free();
    await format.closeOutput();
    format.freeContext();
  }
}
