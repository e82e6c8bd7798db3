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
  deviations: { look: 0, canary: [], stable: [] },
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

describe('the verdict on how far robots stay from where they are to go', () => {
  const look = (number: number, canary: number[], stable: number[]) =>
    verdictOn(record({ deviations: { look: number, canary, stable } }));
  const spread = (n: number, from: number): number[] =>
    Array.from({ length: n }, (_, i) => from + i / 1000);

  it('is out where a canary’s sessions stand above those of the deployed version, and says the numbers', () => {
    const verdict = look(2, spread(12, 0.05), spread(20, 0.01));
    expect(verdict?.message).toBe(
      "canary pv_2 was rolled back: its robots stay 5.55 % of their joints' ranges from where they are to go, those of the deployed version 1.95 %",
    );
    expect(verdict?.detail).toMatchObject({ sessions: 12, stable_sessions: 20 });
    expect(verdict?.detail['p']).toBeLessThan(verdict?.detail['limit'] ?? 0);
  });

  it('waits for five sessions of either, and for more the more often it has looked', () => {
    expect(look(1, spread(4, 0.5), spread(100, 0.01))).toBeUndefined();
    expect(look(1, spread(100, 0.5), spread(4, 0.01))).toBeUndefined();
    expect(look(1, spread(6, 0.5), spread(6, 0.01))).toBeDefined();
    expect(look(10, spread(6, 0.5), spread(6, 0.01))).toBeUndefined();
  });

  it('tolerates a tenth more, and less than the deployed version’s', () => {
    const many = spread(200, 1);
    const times = (factor: number) => many.map((value) => value * factor);
    expect(look(1, times(1.09), many)).toBeUndefined();
    expect(look(1, times(1.2), many)).toBeDefined();
    expect(look(1, times(0.5), many)).toBeUndefined();
  });

  it('is wrong once in a hundred canaries that are no worse at most', () => {
    const draw = random(11);
    const canaries = 2_000;
    let alarms = 0;
    for (let canary = 0; canary < canaries; canary += 1) {
      // Sessions come one by one, of spreads that differ much; a look after each doubling.
      const [own, other]: [number[], number[]] = [[], []];
      for (let minutes = 1; minutes <= 10; minutes += 1) {
        for (let i = 0; i < 2 ** (minutes - 1) && own.length < 60; i += 1) own.push(draw() ** 3);
        for (let i = 0; i < 2 ** minutes && other.length < 90; i += 1) other.push(draw() ** 3);
        if (look(minutes, own, other) === undefined) continue;
        alarms += 1;
        break;
      }
    }
    // Two thousand draws of one in a hundred: 20, and 13.4 are three standard deviations.
    expect(alarms).toBeLessThanOrEqual(33);
  });
});
