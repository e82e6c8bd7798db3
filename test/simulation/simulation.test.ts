import { describe, expect, it } from 'vitest';
import { runEpisode, type EpisodeOutcome } from './episode.ts';

const SEEDS = 1000;
const alone = process.env['ARMATURE_SIM_SEED'];
const seeds =
  alone === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(alone)];

describe('workers, sessions, the SDK’s link and its control loop over a bad network', () => {
  it('execute nothing stale or foreign, mix no tenants, meter what was sent, starve and strand nobody', async () => {
    const outcomes: EpisodeOutcome[] = [];
    for (const seed of seeds) {
      outcomes.push(
        await runEpisode(seed).catch((cause: unknown) => {
          throw new Error(`seed ${seed}: ${String(cause)} (ARMATURE_SIM_SEED=${seed})`, { cause });
        }),
      );
    }
    if (alone !== undefined) return;
    const total = (of: (outcome: EpisodeOutcome) => number) =>
      outcomes.reduce((sum, outcome) => sum + of(outcome), 0);
    // The faults that the invariants are about did happen.
    expect(total((outcome) => outcome.executed)).toBeGreaterThan(30 * SEEDS);
    expect(total((outcome) => outcome.dropped)).toBeGreaterThan(SEEDS / 2);
    expect(total((outcome) => outcome.cuts)).toBeGreaterThan(SEEDS / 4);
    expect(total((outcome) => outcome.stale)).toBeGreaterThan(SEEDS / 4);
    expect(total((outcome) => outcome.starvedTicks)).toBeGreaterThan(SEEDS);
    expect(total((outcome) => outcome.guided)).toBeGreaterThan(SEEDS);
    expect(total((outcome) => outcome.refreshes)).toBeGreaterThan(SEEDS / 10);
    expect(total((outcome) => outcome.reconnects)).toBeGreaterThan(SEEDS / 4);
    expect(total((outcome) => outcome.orphaned)).toBeGreaterThan(SEEDS / 100);
    expect(total((outcome) => outcome.replays)).toBeGreaterThan(SEEDS / 10);
    expect(total((outcome) => outcome.thefts)).toBeGreaterThan(SEEDS / 500);
    expect(total((outcome) => outcome.flooded)).toBeGreaterThan(10 * SEEDS);
    expect(total((outcome) => outcome.overtaken)).toBeGreaterThan(5 * SEEDS);
    expect(total((outcome) => outcome.darks)).toBeGreaterThan(SEEDS / 50);
    expect(total(({ calm }) => (calm ? 1 : 0))).toBeGreaterThan(SEEDS / 10);
    for (const fate of ['executed', 'unused', 'refused', 'away', 'lost'] as const) {
      expect(total(({ fates }) => fates[fate])).toBeGreaterThan(SEEDS / 200);
    }
    // None is asked for so early that it comes with all its steps past; what is too old was given up before.
    expect(total(({ fates }) => fates.late)).toBe(0);
    expect(total((outcome) => outcome.expired)).toBeGreaterThan(SEEDS / 100);
  });

  it('go the same way for the same seed', async () => {
    expect(await runEpisode(7)).toEqual(await runEpisode(7));
  });
});
