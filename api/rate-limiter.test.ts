import { newId, takeTokens, tenants, withTenant, type Settled } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../test/support/postgres.ts';
import { RateLimiter, type TakeTokens } from './rate-limiter.ts';

/** The real buckets of a real database, on a clock that only the test moves. */

let postgres: TestPostgres;
let db: TestDatabase;
beforeAll(async () => {
  postgres = await startTestPostgres();
  db = await postgres.database();
});
afterAll(async () => postgres.stop());

const START = Date.UTC(2026, 0, 1);

interface World {
  clock: { ms: number };
  /** One request through a process; whether it was admitted. */
  ask: (process?: number) => Promise<boolean>;
}

async function world(rate: number, burst: number, batch: number, processes = 1): Promise<World> {
  const tenant = newId('ten');
  await withTenant(db.app, tenant, async (tx) => {
    await tx.insert(tenants).values({ id: tenant, name: tenant });
  });
  const clock = { ms: 0 };
  const take: TakeTokens = (tenantId, bucket, wanted, settled: Settled | null) =>
    takeTokens(
      db.app,
      { tenantId, ...bucket, perSecond: rate, burst },
      wanted,
      settled,
      new Date(START + clock.ms),
    );
  const limiters = Array.from(
    { length: processes },
    () => new RateLimiter({ take, keyShare: 1, batch, lentMs: 1_000, nowMs: () => clock.ms }),
  );
  const ask = async (process = 0): Promise<boolean> => {
    try {
      await limiters[process]?.admit(tenant, 'key');
      return true;
    } catch (error) {
      if (error instanceof ArmatureError && error.code === 'rate_limited') return false;
      throw error;
    }
  };
  return { clock, ask };
}

describe('the rate of one client', () => {
  it.each([1, 3, 10])('is N a second in bursts, fetched %i at a time', async (batch) => {
    const { clock, ask } = await world(40, 40, batch);
    for (let second = 0; second < 5; second += 1) {
      clock.ms = second * 1_000;
      let admitted = 0;
      for (let i = 0; i < 60; i += 1) if (await ask()) admitted += 1;
      expect(admitted).toBe(40);
    }
  });

  it('is N a second where it asks seldom, a few at a time', async () => {
    const { clock, ask } = await world(5, 20, 10);
    let admitted = 0;
    // Eight every two seconds, which is below five a second: none is refused.
    for (; clock.ms < 60_000; clock.ms += 2_000) {
      for (let i = 0; i < 8; i += 1) if (await ask()) admitted += 1;
    }
    expect(admitted).toBe(30 * 8);
  });

  it('is N a second for requests that come at once', async () => {
    const { ask } = await world(0.001, 25, 10);
    const answers = await Promise.all(Array.from({ length: 60 }, () => ask()));
    expect(answers.filter(Boolean)).toHaveLength(25);
  });
});

describe('over any window', () => {
  it('no more is admitted than the burst and what the rate gives, whatever the processes', async () => {
    const step = fc.record({
      wait: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2_500 })),
      process: fc.integer({ min: 0, max: 2 }),
      requests: fc.integer({ min: 1, max: 12 }),
    });
    const property = fc.asyncProperty(
      fc.integer({ min: 1, max: 30 }),
      fc.integer({ min: 4, max: 40 }),
      fc.integer({ min: 1, max: 10 }),
      fc.array(step, { minLength: 5, maxLength: 25 }),
      async (rate, burst, batch, steps) => {
        const { clock, ask } = await world(rate, burst, batch, 3);
        const admitted: number[] = [];
        for (const { wait, process, requests } of steps) {
          clock.ms += wait;
          for (let i = 0; i < requests; i += 1) {
            if (await ask(process)) admitted.push(clock.ms);
          }
        }
        admitted.forEach((from, first) => {
          for (let last = first; last < admitted.length; last += 1) {
            const seconds = ((admitted[last] ?? 0) - from) / 1_000;
            expect(last - first + 1).toBeLessThanOrEqual(burst + rate * seconds + 1e-6);
          }
        });
      },
    );
    await fc.assert(property, { numRuns: 40, seed: 7 });
  });
});
