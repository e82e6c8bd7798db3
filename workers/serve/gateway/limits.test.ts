import type { SessionClaims } from '@armature/sdk/contract';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ImagePool } from '../images/index.ts';
import { gate } from '../testing/fake-runtime.ts';
import { jpegOf, observation, TestRobot } from '../testing/robots.ts';
import { startWorker, type TestWorker, type WorkerOptions } from '../testing/worker.ts';

let worker: TestWorker;
let images: ImagePool;
let jpeg: Uint8Array<ArrayBuffer>;
let sessions = 0;
beforeAll(async () => {
  images = await ImagePool.start(1, () => undefined);
  jpeg = await jpegOf();
});
afterAll(() => images.close());
afterEach(() => worker.stop());

const engines = (count: number): WorkerOptions['engines'] =>
  Array.from({ length: count }, (_, i) => ({ name: `engine-${i}`, serves: ['act', 'reason'] }));
async function robot(tenant: string, limits: SessionClaims['limits']): Promise<TestRobot> {
  const sub = `ses_w${++sessions}`;
  const claims = worker.claims({ sub, tenant, limits, reasoning: { when: 'off' } });
  return TestRobot.ready(worker.port, await worker.issuer.sign(claims));
}
const until = (ready: () => boolean) =>
  expect.poll(ready, { interval: 2, timeout: 20_000 }).toBe(true);

describe('what a token and the settings grant', () => {
  it('shares the engine by the tokens’ shares: three runs of one tenant for one of the other’s', async () => {
    worker = await startWorker({ images, buckets: [1] });
    const [large, small] = ['ten_large', 'ten_small'];
    const fleet = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        robot(i < 4 ? large : small, { max_in_flight: 1, max_hz: 200, share: i < 4 ? 3 : 1 }),
      ),
    );
    const held = gate(worker.runtime);
    const asked = fleet.map(() => 0);
    const ask = (i: number): void => fleet[i]?.send(observation(asked[i] ?? 0, jpeg));
    // Everybody always wants more than there is.
    const answered = () =>
      fleet.map((made) => made.frames.filter((f) => f.type === 'chunk').length);
    fleet.forEach((_, i) => ask(i));
    await until(() => worker.waiting() === 7 && held.held === 1);
    const RUNS = 240;
    for (let run = 0; run < RUNS; run++) {
      const before = answered();
      await held.release();
      await until(() => answered().some((count, i) => count > (before[i] ?? 0)));
      const served = answered().findIndex((count, i) => count > (before[i] ?? 0));
      asked[served] = (asked[served] ?? 0) + 1;
      ask(served);
      await until(() => worker.waiting() === 7 && held.held === 1);
    }
    held.open();
    const chunks = answered();
    const of = (from: number) => chunks.slice(from, from + 4).reduce((a, b) => a + b, 0);
    // By its share neither is ahead by more than a run's rows; served alike, they would be 80 apart.
    expect(of(0) + of(4)).toBe(RUNS);
    expect(Math.abs(of(0) / 3 - of(4))).toBeLessThanOrEqual(worker.runtime.maxBatch + 1);
  });

  it('runs as many rows of a session at once as its token says', async () => {
    for (const limit of [1, 2]) {
      worker = await startWorker({ images, engines: engines(3) });
      const made = await robot('ten_a', { max_in_flight: limit, max_hz: 200 });
      const held = gate(worker.runtime);
      for (let seq = 0; seq < limit; seq++) {
        made.send(observation(seq, jpeg));
        await until(() => held.held === seq + 1);
      }
      made.send(observation(limit, jpeg));
      await until(() => worker.waiting() === 1);
      expect(held.held).toBe(limit);
      held.open();
      expect(await made.answer(limit, 20_000)).toMatchObject({ type: 'chunk' });
      if (limit === 1) await worker.stop();
    }
  });

  it('runs as many rows of a tenant at once as the worker is set to, another’s beside them', async () => {
    worker = await startWorker({ images, engines: engines(4), tenantLimit: 2 });
    const limits = { max_in_flight: 4, max_hz: 200 };
    const fleet = await Promise.all(Array.from({ length: 4 }, () => robot('ten_a', limits)));
    const other = await robot('ten_b', limits);
    const held = gate(worker.runtime);
    for (const [i, made] of fleet.entries()) {
      made.send(observation(0, jpeg));
      await until(() => held.held + worker.waiting() === i + 1);
    }
    expect(held.held).toBe(2);
    other.send(observation(0, jpeg));
    await until(() => held.held === 3);
    expect(worker.waiting()).toBe(2);
    held.open();
    for (const made of fleet) expect(await made.answer(0, 20_000)).toMatchObject({ type: 'chunk' });
  });
});
