import { describe, expect, it } from 'vitest';
import { seeded, type Random } from '../data/index.ts';
import { augmentInto, type Augmentation } from './augment.ts';
import { resolveOptions } from './options.ts';

const [WIDTH, HEIGHT] = [20, 14];
const NONE = { shift: 0, light: 0, crop: 0, colour: 0 } as const;

/** A picture of smooth slopes, so that what lies between two pixels is known. */
const picture = Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => {
  const [x, y] = [Math.floor(i / 3) % WIDTH, Math.floor(i / (3 * WIDTH))];
  return [40 + 9 * x, 30 + 12 * y, 200 - 4 * x - 5 * y][i % 3] as number;
});

function augmented(random: Random, options: Partial<Augmentation>, source = picture): Uint8Array {
  const out = new Uint8Array(source.length);
  augmentInto(out, 0, source, WIDTH, HEIGHT, random, { ...NONE, ...options });
  return out;
}

/** Gives the numbers of a list, uniform ones as they are. */
function scripted(...numbers: number[]): Random & { left: () => number } {
  const next = (): number => {
    const value = numbers.shift();
    if (value === undefined) throw new RangeError('one number more than there are was drawn');
    return value;
  };
  return {
    uniform: next,
    normal: next,
    integer: (n) => Math.floor(next() * n),
    left: () => numbers.length,
  };
}

const at = (image: Uint8Array, x: number, y: number): number[] =>
  Array.from(image.subarray(3 * (y * WIDTH + x), 3 * (y * WIDTH + x) + 3));

const clamped = (value: number, most: number): number => Math.max(0, Math.min(most, value));

describe('a changed picture', () => {
  it('is the picture where nothing is to change', () => {
    expect(augmented(seeded(1), {})).toEqual(picture);
  });

  it('is the same for the same seed, and another for another', () => {
    const all = { shift: 3, light: 0.1, crop: 0.2, colour: 0.3 };
    expect(augmented(seeded(4), all)).toEqual(augmented(seeded(4), all));
    expect(augmented(seeded(5), all)).not.toEqual(augmented(seeded(4), all));
  });

  it('draws no more numbers than what it does needs', () => {
    const counts = [{}, { crop: 0.1 }, { colour: 0.1 }, { crop: 0.1, colour: 0.1 }].map(
      (options) => {
        const random = scripted(...Array.from({ length: 20 }, () => 0.5));
        augmented(random, { shift: 3, light: 0.1, ...options });
        return 20 - random.left();
      },
    );
    expect(counts).toEqual([4, 7, 6, 9]);
  });

  it('is moved as far as drawn, with its edge repeated', () => {
    // The second of seven places across, the last down: two pixels back, three on.
    const moved = augmented(scripted(1 / 7, 6 / 7, 0.5, 0.5), { shift: 3 });
    for (let y = 0; y < HEIGHT; y++) {
      for (let x = 0; x < WIDTH; x++) {
        const from = at(picture, clamped(x - 2, WIDTH - 1), clamped(y + 3, HEIGHT - 1));
        expect(at(moved, x, y)).toEqual(from);
      }
    }
  });

  it('is lighter and of more contrast as drawn', () => {
    // Contrast by half of 0.2 more, brightness by half of 0.2 less.
    const changed = augmented(scripted(0, 0, 0.75, 0.25), { light: 0.2 });
    picture.forEach((value, i) => {
      const exact = clamped((value - 128) * 1.1 + 128 - 0.1 * 255, 255);
      expect(Math.abs((changed[i] ?? NaN) - exact)).toBeLessThanOrEqual(0.5 + 1e-9);
    });
  });

  it('is the drawn part of it, stretched to the whole', () => {
    // Three quarters of a side; the rest of the room is a quarter left and half above.
    const cropped = augmented(scripted(0, 0, 0.5, 0.5, 0.5, 0.25, 0.5), { crop: 0.5 });
    const [left, top] = [WIDTH / 16, HEIGHT / 8];
    for (let y = 0; y < HEIGHT; y++) {
      for (let x = 0; x < WIDTH; x++) {
        // A slope's value at the middle of the pixel in the picture's own places.
        const u = left + (x + 0.5) * 0.75 - 0.5;
        const v = top + (y + 0.5) * 0.75 - 0.5;
        [40 + 9 * u, 30 + 12 * v, 200 - 4 * u - 5 * v].forEach((exact, k) => {
          const got = at(cropped, x, y)[k] ?? NaN;
          expect(Math.abs(got - exact)).toBeLessThanOrEqual(0.5 + 1e-9);
        });
      }
    }
  });

  it('never holds in a crop what lies outside of the picture', () => {
    const [lowest, highest] = [Math.min(...picture), Math.max(...picture)];
    for (const [across, down] of [
      [0, 0],
      [0.999, 0.999],
      [0, 0.999],
    ] as const) {
      const cropped = augmented(scripted(0, 0, 0.5, 0.5, 1, across, down), { crop: 0.4 });
      expect(Math.min(...cropped)).toBeGreaterThanOrEqual(lowest);
      expect(Math.max(...cropped)).toBeLessThanOrEqual(highest);
      // A window of 0.6 shows 0.6 of a slope, but for the half pixels at its ends.
      const [first = NaN, last = NaN] = [at(cropped, 0, 5)[0], at(cropped, WIDTH - 1, 5)[0]];
      expect(Math.abs(last - first - 9 * 0.6 * (WIDTH - 1))).toBeLessThanOrEqual(9 * 0.6 * 0.5);
    }
  });

  it('keeps its luma when its colours change; saturation and hue are as drawn', () => {
    // Colours whose changes stay within a byte.
    const source = picture.map((value) => 96 + Math.floor(value / 4));
    const [strength, stretch, turn] = [0.4, 0.9, 0.2];
    const changed = augmented(
      scripted(0, 0, 0.5, 0.5, stretch, turn),
      { colour: strength },
      source,
    );
    const saturation = 1 + (2 * stretch - 1) * strength;
    const angle = ((2 * turn - 1) * strength * Math.PI) / 2;
    // Luma and colour differences as Rec. 601 has them; IQ is this plane, turned and mirrored.
    const plane = ([r = NaN, g = NaN, b = NaN]: number[]) => {
      const luma = 0.299 * r + 0.587 * g + 0.114 * b;
      return { luma, u: 0.492 * (b - luma), v: 0.877 * (r - luma) };
    };
    for (let y = 0; y < HEIGHT; y++) {
      for (let x = 0; x < WIDTH; x++) {
        const [before, after] = [plane(at(source, x, y)), plane(at(changed, x, y))];
        const [cos, sin] = [saturation * Math.cos(angle), saturation * Math.sin(angle)];
        expect(Math.abs(after.luma - before.luma)).toBeLessThan(0.8);
        expect(Math.abs(after.u - (cos * before.u + sin * before.v))).toBeLessThan(0.8);
        expect(Math.abs(after.v - (cos * before.v - sin * before.u))).toBeLessThan(0.8);
      }
    }
  });

  it('of greys stays grey, whatever is drawn for its colours', () => {
    const grey = Uint8Array.from(picture, (_, i) => (Math.floor(i / 3) * 7) % 256);
    const random = seeded(9);
    for (let i = 0; i < 20; i++) expect(augmented(random, { colour: 1 }, grey)).toEqual(grey);
  });
});

it('is changed as the mode does it, and by crops and colours where they are asked for', () => {
  const common = { seed: 0, images: 'use', labels: 'none' } as const;
  expect(resolveOptions({ ...common, mode: 'full' }).augment).toEqual({
    shift: 3,
    light: 0.1,
    crop: 0,
    colour: 0,
  });
  const asked = { random_crop: 0.2, colour_jitter: 0.5 };
  expect(resolveOptions({ ...common, ...asked, mode: 'lora' }).augment).toEqual({
    shift: 0,
    light: 0,
    crop: 0.2,
    colour: 0.5,
  });
});
