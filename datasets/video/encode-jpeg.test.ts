import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { discPicture } from '../../test/support/small-dataset.ts';
import type { StillPicture } from '../dataset.ts';
import { decodeVideo } from './decode.ts';
import { encodeJpeg, type Jpeg } from './encode-jpeg.ts';

async function jpegOf(rgb: Uint8Array, width: number, height: number, side: number): Promise<Jpeg> {
  const picture: StillPicture = { seconds: 0, width, height, encoding: 'rgb8', bytes: rgb };
  const made: Jpeg[] = [];
  await decodeVideo(
    { kind: 'pictures', name: 'camera', pictures: () => [picture] },
    { onFrame: async ({ frame }) => void made.push(await encodeJpeg(frame, side)) },
  );
  const [jpeg] = made;
  if (jpeg === undefined) throw new Error('there was no picture');
  return jpeg;
}

describe('encodeJpeg', () => {
  it('gives back the picture, as another decoder sees it', async () => {
    const rgb = discPicture(1, 7, 96);
    const jpeg = await jpegOf(rgb, 96, 96, 160);
    expect(jpeg).toMatchObject({ width: 96, height: 96 });
    const { data, info } = await sharp(jpeg.bytes).raw().toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 96, height: 96, channels: 3 });
    const off = rgb.reduce((sum, value, i) => sum + Math.abs(value - (data[i] ?? 0)), 0);
    expect(off / rgb.length).toBeLessThan(3);
  });

  it('keeps the shape of a large picture, within the side and a few kilobytes', async () => {
    const [width, height] = [640, 480];
    const noise = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7919) % 251);
    const jpeg = await jpegOf(noise, width, height, 160);
    expect(jpeg).toMatchObject({ width: 160, height: 120 });
    expect(await sharp(jpeg.bytes).metadata()).toMatchObject({
      format: 'jpeg',
      width: 160,
      height: 120,
    });
    expect(jpeg.bytes.length).toBeLessThan(20_000);
  });
});
