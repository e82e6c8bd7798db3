import { AV_PIX_FMT_RGB24 } from 'node-av/constants';
import { Frame, SoftwareScaleContext } from 'node-av/lib';
import { ArmatureError } from '@armature/sdk/contract';
import { packedRows } from './planes.ts';

/** Turns decoded pictures into u8 RGB, reusing one converter and one buffer for a whole video. */
export class RgbConverter {
  #scaler: SoftwareScaleContext | null = null;
  #target: Frame | null = null;

  /**
   * u8 [height, width, 3], valid until the next call; colour matrix and range are the frame's.
   * @throws ArmatureError `invalid_dataset` for a pixel format that has no RGB.
   */
  async convert(source: Frame): Promise<Uint8Array> {
    this.#scaler ??= newScaler();
    const target = this.#targetFor(source.width, source.height);
    const status = await this.#scaler.scaleFrame(target, source);
    if (status < 0) {
      throw new ArmatureError('invalid_dataset', `a picture cannot become RGB (FFmpeg ${status})`, {
        fix: 'Encode the video in a YUV or RGB pixel format.',
      });
    }
    return packedRows(target, 0, source.width * 3);
  }

  close(): void {
    this.#scaler?.freeContext();
    this.#target?.free();
    this.#scaler = null;
    this.#target = null;
  }

  #targetFor(width: number, height: number): Frame {
    if (this.#target?.width === width && this.#target.height === height) return this.#target;
    this.#target?.free();
    const target = new Frame();
    target.alloc();
    target.width = width;
    target.height = height;
    target.format = AV_PIX_FMT_RGB24;
    target.getBuffer(1);
    this.#target = target;
    return target;
  }
}

/** A context without fixed formats takes formats, matrix and range from each frame. */
function newScaler(): SoftwareScaleContext {
  const scaler = new SoftwareScaleContext();
  scaler.allocContext();
  return scaler;
}
