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
});
