import { Armature, connectRobot } from '@armature/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { grantFor } from './testing/grant.ts';
import { armSpec, jpegOf } from './testing/robots.ts';
import { startWorker, type TestWorker } from './testing/worker.ts';

let worker: TestWorker;
let jpeg: Uint8Array;
beforeAll(async () => {
  worker = await startWorker();
  jpeg = await jpegOf();
});
afterAll(() => worker.stop());

describe('the SDK’s robot client on a worker', () => {
  const seen = () => ({
    images: { front: { jpeg } },
    state: Float32Array.of(0.2, 0.1),
    instruction: 'lift the cup',
  });

  it('acts, reports what it executed, runs its control loop, and is metered chunk for chunk', async () => {
    const robot = await connectRobot({
      embodiment: armSpec(),
      grant: await grantFor(worker, worker.claims({ sub: 'ses_sdk' })),
    });
    const first = await robot.act(seen());
    expect(first.rows).toHaveLength(8);
    robot.report(first, 3);
    await robot.act(seen());
    const command = worker.runtime.runs.at(-1)?.rows[0]?.lastCommand;
    expect(command).toEqual(first.actions.slice(4, 6));

    const stats = await robot.run({ observe: seen, execute: () => {}, ticks: 40 });
    expect(stats.chunks).toBeGreaterThan(3);
    expect(stats.errors).toBe(0);

    await expect(robot.act({ ...seen(), images: {} })).rejects.toMatchObject({
      code: 'missing_camera',
    });
    await robot.close();
    await worker.ledger.flush(5000);
    const usage = [...worker.sink.entries.values()].filter((entry) => entry.kind === 'usage');
    expect(usage).toHaveLength(robot.stats.chunks);
  });

  it('gets chunks that go on from the one in execution, where it asks for them', async () => {
    const robot = await connectRobot({
      embodiment: armSpec(),
      grant: await grantFor(
        worker,
        worker.claims({ sub: 'ses_guided', reasoning: { when: 'off' } }),
      ),
      chunking: { mode: 'guided' },
    });
    const before = worker.runtime.runs.length;
    const stats = await robot.run({ observe: seen, execute: () => {}, ticks: 30 });
    expect(stats.chunks).toBeGreaterThan(2);
    const rows = worker.runtime.runs.slice(before).flatMap((run) => run.rows);
    // The first chunk has none before it; the loop asks for the others while one is executed.
    expect(rows[0]?.previous).toBeUndefined();
    const guided = rows.flatMap(({ previous }) => (previous === undefined ? [] : [previous]));
    expect(guided.length).toBeGreaterThan(0);
    for (const { actions, delay, schedule } of guided) {
      expect(actions.length % 2).toBe(0);
      expect(actions.length).toBeLessThanOrEqual(8 * 2);
      expect(delay).toBeGreaterThanOrEqual(0);
      expect(schedule).toBe('exp');
    }
    await robot.close();
  });

  it('hears of reasonings that are made beside the chunks, where it listens', async () => {
    const heard: string[] = [];
    const robot = await connectRobot({
      embodiment: armSpec(),
      grant: await grantFor(
        worker,
        worker.claims({ sub: 'ses_heard', reasoning: { when: 'interval', ms: 1 } }),
      ),
      onReasoning: ({ id, text }) => heard.push(`${id} ${text}`),
    });
    for (let i = 0; i < 6; i++) await robot.act(seen());
    await expect.poll(() => heard.length, { timeout: 20_000 }).toBeGreaterThan(0);
    expect(heard[0]).toMatch(/^ses_heard:1:\d+ to lift the cup$/);
    await robot.close();
  });

  it('creates a session whose policy the worker has by the time the robot connects', async () => {
    const cold = worker.claims({ sub: 'ses_ahead' }, 'cold');
    const granted = await grantFor(worker, cold);
    const asked: string[] = [];
    // The control plane's answers are given here; what goes to the worker goes over the network.
    const network: typeof fetch = async (input, init) => {
      const { origin, pathname } = new URL(input instanceof Request ? input.url : input);
      asked.push(pathname);
      if (origin === 'http://api.test') return Response.json(granted);
      return fetch(input, init);
    };
    const client = new Armature({ apiUrl: 'http://api.test', apiKey: 'k', fetch: network });
    const [loads, gets] = [worker.runtime.loads, worker.store.gets];
    const made = await client.sessions.create({ robot: 'r1', embodiment_id: 'emb_1' });
    await expect.poll(() => worker.runtime.loads).toBe(loads + 1);
    const fetched = worker.store.gets;
    expect(fetched).toBeGreaterThan(gets);
    const robot = await connectRobot({ embodiment: armSpec(), grant: made });
    expect((await robot.act(seen())).rows).toHaveLength(8);
    expect([worker.runtime.loads, worker.store.gets]).toEqual([loads + 1, fetched]);
    expect(asked).toEqual(['/v1/sessions', '/v1/allocations']);
    await robot.close();
  });

  it('creates a session whose worker cannot be told, and one that is not to be told', async () => {
    const granted = {
      ...(await grantFor(worker, worker.claims())),
      url: 'ws://127.0.0.1:9/v1/robot',
    };
    for (const announce of [true, false]) {
      let toWorker = 0;
      const network: typeof fetch = async (input, init) => {
        const { origin } = new URL(input instanceof Request ? input.url : input);
        if (origin === 'http://api.test') return Response.json(granted);
        toWorker += 1;
        return fetch(input, init);
      };
      const client = new Armature({
        apiUrl: 'http://api.test',
        apiKey: 'k',
        fetch: network,
        announce,
      });
      const made = await client.sessions.create({ robot: 'r1', embodiment_id: 'emb_1' });
      expect(made.session.id).toBe(granted.session.id);
      expect(toWorker).toBe(announce ? 1 : 0);
    }
  });
});
