import type { FinetuneMode } from '@armature/sdk/contract';
import { describe, expect, it } from 'vitest';
import { shippedBase, smallEpisodes, smallSpec } from '../../test/support/small-policy.ts';
import { fitNormalisation, fitVelocity, imageSize } from '../data/index.ts';
import { trainingBatch, type BatchSource } from './batch.ts';
import { framesOf, orderedCameras } from './episodes.ts';
import { resolveOptions, type ResolvedFinetuneOptions } from './options.ts';

const { config } = shippedBase();
const { dims } = config.head;
const LENGTH = 24;

interface Asked {
  readonly mode: FinetuneMode;
  readonly reference?: 'state' | 'last_command';
  readonly velocity?: boolean;
  readonly wrist?: boolean;
  readonly options?: Partial<ResolvedFinetuneOptions>;
  /** Frames to draw from; all of the episodes unless told. */
  readonly frames?: BatchSource['frames'];
}

/** Three short episodes; features of frame i are i + 1 everywhere, so that a batch says what it drew. */
function sourceOf(asked: Asked): BatchSource {
  const { mode, reference = 'state', wrist = false } = asked;
  const spec = smallSpec(3, { reference, wrist });
  // Commands of their own: the state does not get where it was told to.
  const episodes = smallEpisodes(spec, 3, LENGTH).map((episode) => ({
    ...episode,
    action: episode.action.map((value, i) => value + 0.1 * Math.cos(i)),
  }));
  const fitted = fitNormalisation(spec, episodes);
  const normalisation =
    asked.velocity === true
      ? { ...fitted, velocity: fitVelocity(spec, episodes, fitted.state.std) }
      : fitted;
  const { external, wrist: wrists, names } = orderedCameras(spec);
  const summaryWidth = 2 * names.length;
  const resolved = resolveOptions({ mode, batch_size: 16, seed: 3, images: 'use', labels: 'none' });
  return {
    config,
    signature: { external, wrist: wrists, ...imageSize(spec), horizon: spec.horizon },
    spec,
    normalisation,
    episodes,
    frames: asked.frames ?? framesOf(episodes, [0, 1, 2]),
    options: { ...resolved, ...asked.options },
    spread: new Float32Array(3),
    weights: new Float32Array(3).fill(1),
    ...(mode === 'head' || mode === 'policy'
      ? {
          features: {
            views: names.length,
            summaryWidth,
            reasoningWidth: 2,
            summary: (frame) => new Float32Array(summaryWidth).fill(frame + 1),
            reasoning: (frame) => new Float32Array(2).fill(frame + 1),
          },
        }
      : {}),
  };
}

type Batch = ReturnType<typeof trainingBatch>;

function floats(batch: Batch, name: string): Float32Array {
  const data = batch[name]?.data;
  if (data instanceof Float32Array) return data;
  throw new RangeError(`no ${name}`);
}

function bytes(batch: Batch): Uint8Array {
  const data = batch['images']?.data;
  if (data instanceof Uint8Array) return data;
  throw new RangeError('no images');
}

/** `count` rows of values after one another, of as many steps as it takes. */
function rowsOf(
  source: BatchSource,
  steps: number,
): { frame: number; row: number; batch: Batch }[] {
  return Array.from({ length: steps }, (_, step) => trainingBatch(source, step)).flatMap(
    (batch) => {
      const summary = floats(batch, 'summary');
      const width = summary.length / source.options.batchSize;
      return Array.from({ length: source.options.batchSize }, (_, row) => ({
        batch,
        row,
        frame: (summary[row * width] ?? NaN) - 1,
      }));
    },
  );
}

/** Fails where so many of so many are not what a chance of `p` gives: four standard deviations. */
function holdShare(hits: number, of: number, p: number): void {
  expect(of).toBeGreaterThan(500);
  expect(Math.abs(hits / of - p)).toBeLessThanOrEqual(4 * Math.sqrt((p * (1 - p)) / of));
}

describe('a batch', () => {
  const drawn = {
    head: ['state', 'clean', 'noise', 'levels', 'summary', 'reasoning'],
    full: ['state', 'clean', 'noise', 'levels', 'images'],
  } as const;

  it.each(['head', 'full'] as const)('is of its seed and its step, in mode %s', (mode) => {
    const of = (seed: number, step: number) =>
      trainingBatch(sourceOf({ mode, options: { seed } }), step);
    const batch = of(3, 7);
    expect(of(3, 7)).toEqual(batch);
    for (const other of [of(4, 7), of(3, 8), of(7, 3)]) {
      for (const name of drawn[mode])
        expect(other[name]?.data, name).not.toEqual(batch[name]?.data);
    }
  });

  it('draws each frame as often as the others, from the first to the last', () => {
    const source = sourceOf({ mode: 'head' });
    const counts = new Array<number>(source.frames.length).fill(0);
    const rows = rowsOf(source, 450);
    for (const { frame } of rows) counts[frame] = (counts[frame] ?? NaN) + 1;
    const expected = rows.length / counts.length;
    // Chi-squared with 71 degrees of freedom is above 130 once in twenty thousand times.
    const squares = counts.map((count) => (count - expected) ** 2 / expected);
    expect(squares.reduce((sum, value) => sum + value)).toBeLessThan(130);
  });
});

describe('what is left out by chance', () => {
  it.each<[number, Partial<ResolvedFinetuneOptions>]>([
    [0.15, {}],
    [0, { commandDropout: 0 }],
    [0.3, { commandDropout: 0.3 }],
    [1, { commandDropout: 1 }],
  ])('the last command, in %s of the rows', (share, options) => {
    const source = sourceOf({ mode: 'head', reference: 'last_command', options });
    const { action, state } = source.episodes[0] ?? { action: [], state: [] };
    const [scales] = source.normalisation.action;
    const rows = rowsOf(source, 120);
    let [later, without] = [0, 0];
    for (const { frame, row, batch } of rows) {
      const t = frame % LENGTH;
      const known = floats(batch, 'known')[row];
      if (t === 0) expect(known).toBe(0);
      else {
        later += 1;
        if (known === 0) without += 1;
      }
      const command = floats(batch, 'command').subarray(row * dims, row * dims + 3);
      expect(command.some((value) => value !== 0)).toBe(known === 1);
      if (frame >= LENGTH) continue;
      // What a chunk is relative to is what the robot is told: the state where the command is not known.
      const [origin, scale] =
        known === 1
          ? [action[(t - 1) * 3], scales?.scale]
          : [state[t * 3], scales?.scale_without_command];
      const expected = ((action[t * 3] ?? NaN) - (origin ?? NaN)) / (scale ?? NaN);
      const clean = floats(batch, 'clean')[row * source.spec.horizon * dims];
      const { clip } = config.diffusion;
      expect(clean).toBeCloseTo(Math.max(-clip, Math.min(clip, expected)), 4);
    }
    holdShare(without, later, share);
  });

  it.each([0, 0.3])('velocities, in %s of the rows', (commandDropout) => {
    const source = sourceOf({ mode: 'head', velocity: true, options: { commandDropout } });
    const later = rowsOf(source, 120).filter(({ frame }) => frame % LENGTH !== 0);
    const without = later.filter(({ batch, row }) => floats(batch, 'known')[row] === 0);
    holdShare(without.length, later.length, commandDropout);
  });

  it.each<[number, Partial<ResolvedFinetuneOptions>]>([
    [0.5, {}],
    [0, { reasoningDropout: 0 }],
    [0.2, { reasoningDropout: 0.2 }],
    [1, { reasoningDropout: 1 }],
  ])('reasoning, in %s of the rows', (share, options) => {
    const source = sourceOf({ mode: 'head', options });
    const rows = rowsOf(source, 120);
    const silent = rows.filter(({ batch, row, frame }) => {
      const reasoning = floats(batch, 'reasoning').subarray(row * 2, row * 2 + 2);
      expect([0, frame + 1]).toContain(reasoning[0]);
      expect(reasoning[1]).toBe(reasoning[0]);
      return reasoning[0] === 0;
    });
    holdShare(silent.length, rows.length, share);
  });

  it.each([0, 0.05, 0.4])('joints, in %s of the values, and blurs the others', (stateDropout) => {
    const blur = 0.02;
    const plain = sourceOf({ mode: 'head' });
    const source = sourceOf({ mode: 'head', options: { stateDropout, stateNoise: blur } });
    const [clean, blurred] = [rowsOf(plain, 120), rowsOf(source, 120)];
    let [hidden, squares, kept] = [0, 0, 0];
    blurred.forEach(({ batch, row, frame }) => {
      const same = clean.find((other) => other.frame === frame);
      if (same === undefined) throw new RangeError('a frame that is never drawn');
      for (let joint = 0; joint < 3; joint++) {
        const value = floats(batch, 'state')[row * dims + joint] ?? NaN;
        const felt = floats(same.batch, 'state')[same.row * dims + joint] ?? NaN;
        if (value === 0) hidden += 1;
        else {
          kept += 1;
          squares += (value - felt) ** 2;
        }
      }
    });
    holdShare(hidden, hidden + kept, stateDropout);
    expect(Math.abs(Math.sqrt(squares / kept) / blur - 1)).toBeLessThan(4 / Math.sqrt(2 * kept));
  });
});

describe('pictures of a batch', () => {
  const none = { shift: 0, light: 0, crop: 0, colour: 0 };
  const one = [{ episode: 1, t: 5 }];
  const of = (options: Partial<ResolvedFinetuneOptions>, mode: 'lora' | 'full' = 'full') =>
    sourceOf({ mode, wrist: true, frames: one, options: { batchSize: 4, ...options } });

  it('are as recorded where no change is asked for, view by view', () => {
    const source = of({ augment: none });
    const images = bytes(trainingBatch(source, 0));
    const size = images.length / 8;
    ['top', 'wrist'].forEach((camera, view) => {
      const recorded = source.episodes[1]?.image(camera, 5);
      for (let row = 0; row < 4; row++) {
        const at = (row * 2 + view) * size;
        expect(images.subarray(at, at + size)).toEqual(recorded);
      }
    });
    expect(bytes(trainingBatch(of({ images: 'blank' }), 0)).every((value) => value === 0)).toBe(
      true,
    );
  });

  it.each(['shift', 'light', 'crop', 'colour'] as const)(
    'are changed by %s, each row and view by a draw of its own, and nothing else is',
    (what) => {
      const strength = what === 'shift' ? 3 : 0.3;
      const plain = trainingBatch(of({ augment: none }), 2);
      const changed = trainingBatch(of({ augment: { ...none, [what]: strength } }), 2);
      const [before, after] = [bytes(plain), bytes(changed)];
      const size = before.length / 8;
      const seen = new Set<string>();
      for (let i = 0; i < 8; i++) {
        const picture = after.subarray(i * size, (i + 1) * size);
        expect(picture).not.toEqual(before.subarray(i * size, (i + 1) * size));
        const by = picture.map((value, k) => value - (before[i * size + k] ?? 0));
        seen.add(Buffer.from(by).toString('base64'));
      }
      expect(seen.size).toBe(8);
      const { images: _, ...rest } = changed;
      expect(rest).toEqual({ ...plain, images: undefined });
    },
  );
});
