import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromDirectory, openDataset } from '@armature/datasets';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeWithRecording, recordingPath } from '../../../test/support/recordings.ts';
import { evaluate } from './evaluate.ts';
import { movingDimensions } from './moving.ts';
import type { RecordedEpisode } from './recorded.ts';

const H = 16;
const A = 26;
const RIGHT = [7, 8, 9, 10, 11, 12, 13, 20, 21, 22, 23, 24, 25];

const moments = z.object({ mean: z.array(z.number()), std: z.array(z.number()) });
const trueStats = z.object({ action: moments, 'observation.state': moments });

async function read(directory: string): Promise<RecordedEpisode[]> {
  const dataset = await openDataset(fromDirectory(directory));
  return Promise.all(dataset.episodes.map(({ index }) => dataset.readEpisode(index)));
}

describe('figures of simple predictors', () => {
  describeWithRecording('g1-bottle-heldout', (directory) => {
    it('are those that were measured on the real recordings by others', async () => {
      const trainingPath = recordingPath('g1-bottle-50');
      const [training, heldout] = await Promise.all([read(trainingPath), read(directory)]);
      const stats = trueStats.parse(
        JSON.parse(await readFile(join(trainingPath, 'meta', 'true_stats.json'), 'utf8')),
      );
      expect(movingDimensions(training, A)).toEqual(RIGHT);
      const got = await evaluate({
        names: Array.from({ length: A }, (_, d) => `joint ${d}`),
        shape: { horizon: H, actions: A, states: A },
        reference: 'state',
        training,
        heldout,
        state: stats['observation.state'],
        action: stats.action,
        stateOf: Array.from({ length: A }, (_, d) => d),
        // Holds the state, as a policy would have to.
        predict: (queries) =>
          Promise.resolve(
            queries.map((q) => {
              const state = heldout[q.episode]?.state.subarray(q.t * A, (q.t + 1) * A) ?? [];
              return q.seeds.map(() =>
                Float32Array.from({ length: H * A }, (_, i) => state[i % A]!),
              );
            }),
          ),
        served: { steps: 10, noise_scale: 0 },
        usesLastCommand: false,
        blind: true,
        seed: 0,
        framesPerCall: 64,
        onProgress: () => undefined,
        signal: new AbortController().signal,
      });
      expect(got.chunks).toBe(2182);
      expectPair(got.hold, 0.183, 0.246, 0.0006);
      expectPair(got.mean, 1.385, 0.936, 0.0006);
      expectPair(got.hold_command, 0.058, 0.116, 0.0015);
      expectPair(got.ridge, 0.12, 0.227, 0.0015);
      expect(got.served.mse).toBeCloseTo(got.hold.mse, 9);
      expect(got.mean8.l1).toBeCloseTo(got.hold.l1, 6);
      // Measured over whole chunks only, which leaves out every episode's end.
      expectPair(got.moving?.hold, 0.285, 0.331, 0.005);
      expectPair(got.moving?.mean, 1.033, 0.844, 0.015);
      expect(got.ci95.mean8_mse[0]).toBeLessThan(0.183);
      expect(got.ci95.mean8_mse[1]).toBeGreaterThan(0.183);
      expect(got.ci95.blank8_minus_mean8_mse).toEqual([0, 0]);
    });
  });
});

function expectPair(
  pair: { mse: number; l1: number } | undefined,
  mse: number,
  l1: number,
  within: number,
): void {
  expect(Math.abs((pair?.mse ?? NaN) - mse)).toBeLessThan(within);
  expect(Math.abs((pair?.l1 ?? NaN) - l1)).toBeLessThan(within);
}
