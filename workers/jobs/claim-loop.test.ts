import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { claimLoop } from './claim-loop.ts';

describe('claimLoop', () => {
  it('runs one job after another, outlives failed claims and ends when told', async () => {
    const stop = new AbortController();
    const answers: (string | null | Error)[] = ['a', null, new Error('no database'), 'b', null];
    const ran: string[] = [];
    const failed: unknown[] = [];
    await claimLoop<string>({
      claim: () => {
        const next = answers.shift();
        if (next instanceof Error) return Promise.reject(next);
        if (next === undefined) stop.abort();
        return Promise.resolve(next ?? null);
      },
      run: (job, claimedAt) => {
        ran.push(`${job}@${claimedAt}`);
        return Promise.resolve();
      },
      pollMs: 1,
      nowMs: () => 7,
      random: () => 0.5,
      onClaimFailed: (error) => failed.push(error),
      stop: stop.signal,
    });
    expect(ran).toEqual(['a@7', 'b@7']);
    expect(failed).toHaveLength(1);
  });

  it('does not wait out a long pause when told to stop', async () => {
    const stop = new AbortController();
    const loop = claimLoop<string>({
      claim: () => Promise.resolve(null),
      run: () => Promise.resolve(),
      pollMs: 3_600_000,
      nowMs: () => 0,
      random: () => 0,
      onClaimFailed: () => undefined,
      stop: stop.signal,
    });
    setTimeout(() => {
      stop.abort();
    }, 5);
    await loop;
  });

  it('polls with one lane for all that have nothing to do, and fills all of them once there is work', async () => {
    const stop = new AbortController();
    const jobs: number[] = [];
    let [asked, busy, most] = [0, 0, 0];
    const loop = claimLoop<number>({
      claim: () => {
        asked += 1;
        return Promise.resolve(jobs.shift() ?? null);
      },
      run: async () => {
        busy += 1;
        most = Math.max(most, busy);
        await sleep(20);
        busy -= 1;
      },
      pollMs: 10,
      lanes: 4,
      nowMs: () => 0,
      random: () => 0.5,
      onClaimFailed: () => undefined,
      stop: stop.signal,
    });
    const began = performance.now();
    await waitFor(() => asked >= 10);
    // Each has asked once, and one goes on asking.
    expect(asked - 4).toBeLessThanOrEqual((performance.now() - began) / 10 + 1);
    jobs.push(1, 2, 3, 4, 5, 6);
    await waitFor(() => jobs.length === 0 && busy === 0);
    expect(most).toBe(4);
    // Whoever looked out has had work since: another does so.
    const before = asked;
    await waitFor(() => asked > before + 3);
    stop.abort();
    await loop;
  });
});

async function waitFor(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(1);
}
