import type { CanaryRecord } from '@armature/db';
import { describe, expect, it } from 'vitest';
import { verdictOn } from './canary-judge.ts';

type Outcomes = CanaryRecord['canary'];
const outcomes = (chunks: number, faults: number, windows = 1): Outcomes => ({
  chunks,
  faults,
  windows,
});
const record = (over: Partial<CanaryRecord>): CanaryRecord => ({
  embodimentId: 'emb_1',
  canaryId: 'pv_2',
  since: new Date(0),
  canary: outcomes(100, 0),
  stable: outcomes(1000, 0),
  stableBefore: outcomes(1000, 0),
  ...over,
});

/** Mulberry32: numbers in [0, 1) from a seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The window at whose end the canary is rolled back, 40 chunks of the canary and 200 of the other in each. */
function rolledBackAfter(seed: number, windows: number, rates: [number, number]) {
  const draw = random(seed);
  const faultsOf = (trials: number, rate: number) =>
    Array.from({ length: trials }, draw).filter((value) => value < rate).length;
  const faults: [number, number] = [0, 0];
  for (let k = 1; k <= windows; k += 1) {
    faults[0] += faultsOf(40, rates[0]);
    faults[1] += faultsOf(200, rates[1]);
    const verdict = verdictOn(
      record({
        canary: outcomes(40 * k - faults[0], faults[0], k),
        stable: outcomes(200 * k - faults[1], faults[1], k),
      }),
    );
    if (verdict !== undefined) return k;
  }
  return undefined;
}

describe('the verdict on a canary', () => {
  it('is out at once where it always fails, and says the numbers', () => {
    const verdict = verdictOn(record({ canary: outcomes(0, 20) }));
    expect(verdict?.message).toBe(
      'canary pv_2 was rolled back: 20 of 20 attempts failed, of the deployed version 0 of 1000',
    );
    expect(verdict?.detail).toMatchObject({
      faults: 20,
      attempts: 20,
      stable_faults: 0,
      stable_attempts: 1000,
    });
  });

  it('waits for twenty attempts of either', () => {
    expect(verdictOn(record({ canary: outcomes(0, 19) }))).toBeUndefined();
    const few = { canary: outcomes(0, 50), stable: outcomes(3, 0) };
    expect(verdictOn(record({ ...few, stableBefore: outcomes(19, 0) }))).toBeUndefined();
    expect(verdictOn(record({ ...few, stableBefore: outcomes(20, 0) }))).toBeDefined();
  });

  it('compares with the same time, whatever the day before was', () => {
    const stormy = { canary: outcomes(50, 50), stable: outcomes(500, 500) };
    expect(verdictOn(record({ ...stormy, stableBefore: outcomes(100_000, 0) }))).toBeUndefined();
  });

  it('never ends a canary that fails less often', () => {
    const better = { canary: outcomes(1000, 1), stable: outcomes(500, 500) };
    expect(verdictOn(record(better))).toBeUndefined();
  });

  it('ends no more than one in a hundred that are as good, asked sixty times', () => {
    const runs = 400;
    const wrong = Array.from({ length: runs }, (_, seed) =>
      rolledBackAfter(seed, 60, [0.05, 0.05]),
    ).filter((end) => end !== undefined);
    expect(wrong.length).toBeLessThanOrEqual(runs / 100);
  });

  it('ends every one that fails four times as often, within an hour of windows', () => {
    for (let seed = 0; seed < 100; seed += 1) {
      expect(rolledBackAfter(seed, 60, [0.2, 0.05])).toBeDefined();
    }
  });
});
