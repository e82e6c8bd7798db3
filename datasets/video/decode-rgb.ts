import type { DecodeOptions, OnFrame, VideoInput } from '../dataset.ts';
import { decodeVideo } from './decode.ts';
import { RgbConverter } from './rgb.ts';

/**
 * Every picture of an input as RGB, in order; returns how many there were.
 * @throws ArmatureError as `decodeVideo` does.
 */
export async function decodeRgb(
  input: VideoInput,
  onFrame: OnFrame,
  options: DecodeOptions = {},
): Promise<number> {
  const converter = new RgbConverter();
  try {
    return await decodeVideo(input, {
      ...options,
      onFrame: async (picture) => {
        const rgb = await converter.convert(picture.frame);
        await onFrame(picture.index, rgb.slice(), picture.frame.width, picture.frame.height);
      },
    });
  } finally {
    converter.close();
  }
}
