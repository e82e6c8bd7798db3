import {
  AV_PIX_FMT_BGR24,
  AV_PIX_FMT_RGB24,
  AV_CODEC_ID_MJPEG,
  AV_CODEC_ID_PNG,
} from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet } from 'node-av/lib';
import './ffmpeg-log.ts';
import { throwIfCancelled } from '../cancel.ts';
import type { StillPicture, VideoInput } from '../dataset.ts';
import { damaged } from './damaged.ts';
import type { VideoFrames } from './decode.ts';
import { assertScans } from './jpeg-scans.ts';
import { assertPictureSize, declaredSize } from './picture-size.ts';

/**
 * Decodes pictures that stand alone, as `decodeVideo` does a video's.
 * @throws ArmatureError `invalid_dataset` for one that is damaged, too large or of too many scans, `cancelled`.
 */
export async function decodePictures(
  input: Extract<VideoInput, { kind: 'pictures' }>,
  frames: VideoFrames,
): Promise<number> {
  const decoders = new StillDecoders();
  let index = 0;
  try {
    for await (const picture of input.pictures()) {
      throwIfCancelled(frames.signal);
      const frame = await decoders.decode(picture, `${input.name}[${index}]`);
      try {
        await frames.onFrame({ index, seconds: picture.seconds, frame });
      } finally {
        frame.free();
      }
      index += 1;
      if (index === frames.limit) break;
    }
    return index;
  } finally {
    decoders.close();
  }
}

/** One decoder a compressed encoding, opened when it is first needed. */
class StillDecoders {
  readonly #contexts = new Map<'jpeg' | 'png', CodecContext>();

  async decode(picture: StillPicture, name: string): Promise<Frame> {
    const { encoding, bytes } = picture;
    if (encoding === 'jpeg' || encoding === 'png') {
      // The decoder sets memory aside by what the header says, so that is looked at before.
      const size = declaredSize(encoding, bytes);
      if (size === null) throw damaged(name, `is no ${encoding.toUpperCase()}`);
      assertPictureSize(name, size);
      if (encoding === 'jpeg') assertScans(name, bytes);
      return await this.#decompress(encoding, bytes, name);
    }
    return raw(picture, name);
  }

  async #decompress(encoding: 'jpeg' | 'png', bytes: Uint8Array, name: string): Promise<Frame> {
    const context = await this.#context(encoding, name);
    const packet = new Packet();
    const frame = new Frame();
    try {
      packet.alloc();
      packet.data = Buffer.from(bytes);
      // Else FFmpeg adds the picture before to a PNG.
      packet.isKeyframe = true;
      frame.alloc();
      check(await context.sendPacket(packet), name);
      check(await context.receiveFrame(frame), name);
      return frame;
    } catch (error) {
      frame.free();
      throw error;
    } finally {
      packet.free();
    }
  }

  close(): void {
    for (const context of this.#contexts.values()) context.freeContext();
  }

  async #context(encoding: 'jpeg' | 'png', name: string): Promise<CodecContext> {
    const known = this.#contexts.get(encoding);
    if (known !== undefined) return known;
    const codec = Codec.findDecoder(encoding === 'jpeg' ? AV_CODEC_ID_MJPEG : AV_CODEC_ID_PNG);
    if (codec === null) throw damaged(name, `has an encoding without a decoder: ${encoding}`);
    const context = new CodecContext();
    context.allocContext3(codec);
    context.threadCount = 1;
    check(await context.open2(codec), name);
    this.#contexts.set(encoding, context);
    return context;
  }
}

function raw(picture: StillPicture, name: string): Frame {
  const { width, height, bytes, encoding } = picture;
  assertPictureSize(name, picture);
  if (bytes.length !== width * height * 3) {
    throw damaged(
      name,
      `has ${bytes.length} bytes, ${width}×${height} needs ${width * height * 3}`,
    );
  }
  return Frame.fromVideoBuffer(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), {
    width,
    height,
    format: encoding === 'rgb8' ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_BGR24,
    pts: 0n,
  });
}

function check(status: number, name: string): void {
  if (status < 0) throw damaged(name, 'is damaged', status);
}
