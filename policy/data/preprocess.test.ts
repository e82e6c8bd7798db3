import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { fixturePath } from '../../test/support/fixtures.ts';
import { ImageError, fitInside, preprocessImage } from './preprocess.ts';

interface Meta {
  frames: Record<string, { height: number; width: number }>;
  resize_with_pad_sizes: Record<string, unknown>[];
}

async function pixels(file: string): Promise<{ data: Uint8Array; width: number; height: number }> {
  const { data, info } = await sharp(fixturePath(file))
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data: new Uint8Array(data), width: info.width, height: info.height };
}

const meta = JSON.parse(readFileSync(fixturePath('preprocess/meta.json'), 'utf8')) as Meta;

describe('pre-processing against PIL as openpi uses it', () => {
  it.each(Object.keys(meta.frames))('%s', async (name) => {
    const source = await pixels(`preprocess/frames/${name}.png`);
    const expected = await pixels(`preprocess/resize_with_pad/${name}.png`);
    const got = preprocessImage(source.data, source.width, source.height, expected);
    const worst = got.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (expected.data[i] as number))),
      0,
    );
    expect(got.length).toBe(expected.data.length);
    expect(worst).toBeLessThanOrEqual(1);
  });

  it('names the bytes that a picture lacks', () => {
    expect(() => preprocessImage(new Uint8Array(10), 2, 2, { width: 4, height: 4 })).toThrow(
      ImageError,
    );
  });

  it('keeps the aspect and centres', () => {
    expect(fitInside(640, 480, { width: 96, height: 96 })).toEqual({
      width: 96,
      height: 72,
      left: 0,
      top: 12,
    });
  });
});
