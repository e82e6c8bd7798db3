import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { fixturePath, readFixtureJson } from '../../test/support/fixtures.ts';
import {
  hold,
  holdClose,
  holdEqual,
  largestDifference,
  readReference,
} from '../../test/support/parity.ts';
import {
  QWEN2_VL_SCALE,
  SIGLIP_SCALE,
  fitInside,
  preprocessImage,
  qwenPatches,
  resample,
  scaledPlanes,
  smartResize,
  type PixelScale,
} from './index.ts';

interface Meta {
  frames: Record<string, { height: number; width: number }>;
  resize_with_pad_sizes: { height: number; width: number; resized: number[]; top_left: number[] }[];
  siglip: Record<string, unknown>;
  qwen2_vl: Record<
    string,
    {
      min_pixels: number;
      max_pixels: number;
      resized: number[];
      image_grid_thw: number[][];
      mean: [number, number, number];
      std: [number, number, number];
    }
  >;
  smart_resize: {
    height: number;
    width: number;
    factor: number;
    min_pixels: number;
    max_pixels: number;
    result: [number, number];
  }[];
}

/** What the reference's README allows: other resamplers, float32 arithmetic. */
const BILINEAR = 1;
const BICUBIC = { most: 3, mean: 0.25 };
const ROUNDING = 3e-7;

const meta = (await readFixtureJson('preprocess', 'meta.json')) as Meta;
const siglip = await readReference('preprocess', 'siglip.safetensors');
const qwen = await readReference('preprocess', 'qwen2_vl.safetensors');

async function picture(...parts: string[]) {
  const { data, info } = await sharp(fixturePath('preprocess', ...parts))
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data: new Uint8Array(data), width: info.width, height: info.height };
}

const label = (quantity: string, detail: string) => ({
  fixture: 'preprocess',
  quantity,
  detail,
});

function holdLevels(
  quantity: string,
  detail: string,
  got: Uint8Array,
  want: ArrayLike<number | bigint>,
): void {
  const sum = got.reduce((total, value, i) => total + Math.abs(value - Number(want[i])), 0);
  hold({
    ...label(`${quantity}, largest`, detail),
    error: largestDifference(got, want),
    tolerance: BICUBIC.most,
  });
  hold({ ...label(`${quantity}, mean`, detail), error: sum / got.length, tolerance: BICUBIC.mean });
}

describe('padding to a square', () => {
  it.each(Object.keys(meta.frames))('%s', async (name) => {
    const source = await picture('frames', `${name}.png`);
    const want = await picture('resize_with_pad', `${name}.png`);
    const got = preprocessImage(source.data, source.width, source.height, want);
    const error = largestDifference(got, want.data);
    hold({ ...label('padded, largest', name), error, tolerance: BILINEAR });
  });

  it('finds the place of other shapes', async () => {
    const [name = ''] = Object.keys(meta.frames);
    const target = await picture('resize_with_pad', `${name}.png`);
    expect(meta.resize_with_pad_sizes.length).toBeGreaterThan(0);
    for (const { height, width, resized, top_left: place } of meta.resize_with_pad_sizes) {
      const fit = fitInside(width, height, target);
      const got = [fit.height, fit.width, fit.top, fit.left];
      holdEqual(label('padding', `${width}×${height}`), got, [...resized, ...place]);
    }
  });
});

describe('SigLIP', () => {
  it.each(Object.keys(meta.siglip))('%s', async (name) => {
    const source = await picture('frames', `${name}.png`);
    const want = siglip.at(`${name}.resized_u8`);
    const [height = 0, width = 0] = want.shape;
    const got = resample(source.data, source.width, source.height, { width, height }, 'bicubic');
    holdLevels('SigLIP resized', name, got, want.data);
    const pixels = siglip.tensors.get(`${name}.pixel_values`);
    if (pixels === undefined) return;
    const data = scaledPlanes(want.data as Uint8Array, SIGLIP_SCALE);
    holdClose(label('SigLIP pixels', name), { shape: pixels.shape, data }, pixels, ROUNDING);
  });
});

describe('Qwen2-VL', () => {
  it.each(Object.keys(meta.qwen2_vl))('%s', async (name) => {
    const source = await picture('frames', `${name}.png`);
    const told = meta.qwen2_vl[name];
    if (told === undefined) throw new RangeError(`nothing is told of ${name}`);
    const pixels = qwen.at(`${name}.pixel_values`);
    const [grid = []] = told.image_grid_thw;
    const [, rows = 0] = grid;
    const [resizedHeight = 0] = told.resized;
    const patch = resizedHeight / rows;
    const frames = (pixels.shape[1] ?? 0) / (3 * patch ** 2);
    const layout = { patch, merge: 2, frames };
    const limits = { least: told.min_pixels, most: told.max_pixels };
    const size = smartResize(source, patch * layout.merge, limits);
    holdEqual(label('Qwen2-VL size', name), [size.height, size.width], told.resized);
    const want = qwen.at(`${name}.resized_u8`);
    const got = resample(source.data, source.width, source.height, size, 'bicubic');
    holdLevels('Qwen2-VL resized', name, got, want.data);
    const scale: PixelScale = { mean: told.mean, deviation: told.std };
    expect(scale).toEqual(QWEN2_VL_SCALE);
    const data = qwenPatches(want.data as Uint8Array, size, layout, scale);
    holdClose(label('Qwen2-VL patches', name), { shape: pixels.shape, data }, pixels, ROUNDING);
  });

  it('chooses the size of any picture', () => {
    for (const one of meta.smart_resize) {
      const limits = { least: one.min_pixels, most: one.max_pixels };
      const { height, width } = smartResize(one, one.factor, limits);
      const detail = `${one.width}×${one.height} to ${one.max_pixels}`;
      holdEqual(label('Qwen2-VL size', detail), [height, width], one.result);
    }
  });
});
