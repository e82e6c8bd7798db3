import { readFileSync } from 'node:fs';
import { baseWeightsUrl, loadBase, readManifest } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import type { SessionClaims } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { GraphBuilder } from './graphs/index.ts';
import { WARM_UP } from './policies/blank-row.ts';
import type { ActRow, PolicyPort } from './policies/index.ts';
import {
  makePolicy,
  putPolicy,
  sha256,
  tunePolicy,
  type Version,
} from '../../test/support/served-policy.ts';
import { alone, seen } from './testing/alone.ts';
import { armSpec, TestRobot } from './testing/robots.ts';
import { startWorker, type TestWorker } from './testing/worker.ts';

const base = loadBase(readFileSync(baseWeightsUrl('nano')));
const arm = armSpec();
const gripper = armSpec({
  name: 'gripper',
  state: [...arm.state, { name: 'jaw', unit: 'ratio' }],
  action: [...arm.action, { name: 'jaw', unit: 'ratio', group: 'hand', min: 0, max: 1 }],
  references: { arm: 'last_command', hand: 'absolute' },
});

let engine: Engine;
let graphs: GraphBuilder;
let runtime: PolicyRuntime;
let worker: TestWorker;
const hasPairs = ({ policy }: ActRow) => policy.manifest.mode === 'lora';
const isQuantised = ({ policy }: ActRow) => policy.manifest.frozen_weights !== undefined;
/** What every run of actions waits for, and how many do. */
let hold = Promise.resolve();
let held = 0;
const isPulled = ({ previous }: ActRow) => previous?.correction === 'pulled-back';
/** Rows of the runs that there is a graph for, whether pairs or quantised layers are among them, and how they are guided. */
const warm = new Set<string>();
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, spin: false });
  graphs = await GraphBuilder.start({ base });
  runtime = await PolicyRuntime.create({
    engine,
    base,
    graphs,
    buckets: [1, 2],
    slots: 4,
    pulledBack: true,
  });
  const port: PolicyPort = {
    maxBatch: runtime.maxBatch,
    pulledBack: runtime.pulledBack,
    load: (policy) => runtime.load(policy),
    unload: (handle) => runtime.unload(handle),
    batchKey: (handle) => runtime.batchKey(handle),
    refusalOf: (instruction) => runtime.refusalOf(instruction),
    act: async (rows) => {
      if (rows[0]?.instruction !== WARM_UP) {
        held += 1;
        await hold;
      }
      return runtime.act(rows);
    },
    prepare: async (kind, rows) => {
      await runtime.prepare(kind, rows);
      if (kind !== 'act') return;
      const has = `${rows.some(hasPairs) ? ' with pairs' : ''}${rows.some(isQuantised) ? ' in int8' : ''}`;
      warm.add(`${rows.length}${has}${rows.some(isPulled) ? ', pulled' : ''}`);
    },
    reason: (rows) => runtime.reason(rows),
    reasonAndAct: (rows) => runtime.reasonAndAct(rows),
  };
  worker = await startWorker({ runtime: port, readManifest, policySlots: 4, buckets: [1, 2] });
});
afterAll(async () => {
  await worker.stop();
  await graphs.close();
  await engine.close();
});

const put = (key: string, bytes: Uint8Array) => worker.store.objects.set(key, bytes);
async function session(sub: string, tenant: string, policy: Version): Promise<SessionClaims> {
  return {
    ...worker.claims({ sub, tenant }),
    embodiment: { id: `emb_${sub}`, spec: policy.manifest.spec },
    policy: await putPolicy(put, tenant, policy),
    reasoning: { when: 'off' },
  };
}
/** A version that the worker has loaded, as it has it. */
const loaded = ({ manifest }: Version, { policy }: SessionClaims) =>
  runtime.load({ digest: policy.digest, manifest, files: {} });
const connect = async (claims: SessionClaims) =>
  TestRobot.open(worker.port, await worker.issuer.sign(claims));

interface Asked {
  readonly tenant: string;
  readonly policy: Version;
  readonly state: readonly number[];
}

/**
 * Holds the run of the first robot until the other two wait, so that these share one, and compares what
 * each gets with what it gets alone. No graph is built once `ready` is warm.
 */
async function expectAsAlone(name: string, plan: readonly Asked[], ready: string): Promise<void> {
  const robots = await Promise.all(
    plan.map(async ({ tenant, policy, state }, i) => {
      const claims = await session(`ses_${name}${i}`, tenant, policy);
      return { robot: await connect(claims), claims, policy, state };
    }),
  );
  for (const { robot } of robots) await robot.next('welcome', 60_000);
  // Of a size the graphs with guidance through the network are the last.
  await expect.poll(() => warm.has(`${ready}, pulled`), { timeout: 60_000 }).toBe(true);
  const built = vi.spyOn(engine, 'load');
  let go = () => {};
  held = 0;
  hold = new Promise((resolve) => (go = resolve));
  const send = (i: number) => robots[i]!.robot.send(seen(0, robots[i]!.state));
  send(0);
  await expect.poll(() => held, { timeout: 20_000 }).toBe(1);
  send(1);
  send(2);
  await expect.poll(worker.waiting, { timeout: 20_000 }).toBe(2);
  go();
  for (const [i, { robot, claims, policy, state }] of robots.entries()) {
    const chunk = await robot.answer(0, 30_000);
    if (chunk.type !== 'chunk') throw new Error(JSON.stringify(chunk));
    expect(chunk.timings.batch).toBe(i === 0 ? 1 : 2);
    const handle = await loaded(policy, claims);
    const expected = await alone(runtime, handle, state, chunk.chunk_id);
    const values = chunk.actions.toFloat32();
    expect(values).toHaveLength(expected.length);
    expected.forEach((value, k) => expect(values[k]).toBeCloseTo(value, 4));
    robot.close();
  }
  expect(built).not.toHaveBeenCalled();
  built.mockRestore();
}

describe('the real model behind the gateway', () => {
  it('gives robots of two tenants, embodiments and heads in one run what each gets alone', async () => {
    const [first, second] = [makePolicy(base, arm, 11), makePolicy(base, gripper, 12)];
    await expectAsAlone(
      'heads',
      [
        { tenant: 'ten_a', policy: first, state: [0.4, 0.4] },
        { tenant: 'ten_a', policy: first, state: [0.1, -0.2] },
        { tenant: 'ten_b', policy: second, state: [0.3, 0.1, 0.5] },
      ],
      '2',
    );
  });

  it('does so where one has low-rank pairs and the other has none', async () => {
    const pairs = await tunePolicy(engine, base, gripper, 'lora');
    await expectAsAlone(
      'pairs',
      [
        { tenant: 'ten_a', policy: makePolicy(base, arm, 11), state: [0.4, 0.4] },
        { tenant: 'ten_a', policy: makePolicy(base, arm, 11), state: [0.1, -0.2] },
        { tenant: 'ten_b', policy: pairs, state: [0.3, 0.1, 0.5] },
      ],
      '2 with pairs',
    );
  });

  it('serves versions with the frozen layers in int8 that they were trained on, each as alone', async () => {
    const int8 = { frozen_weights: 'int8' } as const;
    const first = await tunePolicy(engine, base, arm, 'head', int8);
    const second = await tunePolicy(engine, base, gripper, 'head', int8);
    expect(first.manifest.frozen_weights).toBe('int8');
    await expectAsAlone(
      'int8',
      [
        { tenant: 'ten_a', policy: first, state: [0.4, 0.4] },
        { tenant: 'ten_a', policy: first, state: [0.1, -0.2] },
        { tenant: 'ten_b', policy: second, state: [0.3, 0.1, 0.5] },
      ],
      '2 in int8',
    );
  });

  it.each(['guided', 'trained'] as const)(
    'gives chunk after chunk that go on from one another (%s), whatever delay it is told',
    async (mode) => {
      const policy = makePolicy(base, arm, 3, { prefix_delay_max: 4 });
      const robot = await connect(await session(`ses_${mode}`, 'ten_a', policy));
      await robot.next('welcome');
      robot.send({ ...seen(0, [0.2, 0.1]), chunking: { mode } });
      let last = await robot.next('chunk');
      const { horizon } = arm;
      const told = [0, 2, 4, 5, horizon - 1, horizon, 10 * horizon];
      for (const [i, steps] of told.entries()) {
        const executed = { chunk_id: last.chunk_id, steps: Math.min(2 + i, horizon - 1) };
        const delay = { steps, latency_ms: 100 * steps };
        robot.send({ ...seen(i + 1, [0.2, 0.1]), executed, delay });
        const next = await robot.next('chunk');
        expect(next.seq).toBe(i + 1);
        const [was, is] = [last.actions.toFloat32(), next.actions.toFloat32()];
        expect(is.every(Number.isFinite)).toBe(true);
        // What the delay takes is what the robot executes meanwhile, as far as there is something left.
        const width = arm.action.length;
        const kept = was.slice(executed.steps * width).slice(0, steps * width);
        kept.forEach((value, k) => {
          expect(is[k]).toBeCloseTo(value, 4);
        });
        last = next;
      }
      robot.close();
    },
  );

  it('guides through the network where a robot asks for it, in a graph that is there already', async () => {
    const robot = await connect(await session('ses_pulled', 'ten_a', makePolicy(base, arm, 3)));
    expect((await robot.next('welcome', 60_000)).chunking).toEqual([
      'off',
      'guided',
      'pulled_back',
    ]);
    const built = vi.spyOn(engine, 'load');
    robot.send({ ...seen(0, [0.2, 0.1]), chunking: { mode: 'pulled_back' } });
    const width = arm.action.length;
    let last = await robot.next('chunk');
    for (let seq = 1; seq <= 3; seq++) {
      const executed = { chunk_id: last.chunk_id, steps: 2 };
      robot.send({ ...seen(seq, [0.2, 0.1]), executed, delay: { steps: 2, latency_ms: 200 } });
      const next = await robot.next('chunk');
      const [was, is] = [last.actions.toFloat32(), next.actions.toFloat32()];
      // Held by its gradient: near what the robot executes meanwhile, though not to the bit.
      for (let k = 0; k < 2 * width; k++) {
        expect(Math.abs((is[k] ?? NaN) - (was[2 * width + k] ?? NaN))).toBeLessThan(0.1);
      }
      last = next;
    }
    expect(built).not.toHaveBeenCalled();
    built.mockRestore();
    robot.close();
  });

  it('reasons when asked to, and says what with', async () => {
    const claims = await session('ses_r8', 'ten_a', makePolicy(base, arm, 11));
    const robot = await connect({ ...claims, reasoning: { when: 'interval', ms: 1 } });
    await robot.next('welcome', 60_000);
    for (let seq = 0; seq < 3; seq++) {
      robot.send(seen(seq, [0, 0]));
      expect(await robot.answer(seq, 30_000)).toMatchObject({
        type: 'chunk',
        reasoning: { id: expect.any(String) as string, text: expect.any(String) as string },
      });
    }
    robot.close();
  });

  it('refuses weights that are no numbers, at load', async () => {
    const { manifest, files } = makePolicy(base, arm, 13);
    const bad = Buffer.from(files['head.safetensors']!);
    bad.writeFloatLE(NaN, bad.length - 4);
    const claims = await session('ses_r9', 'ten_a', {
      manifest: {
        ...manifest,
        files: { 'head.safetensors': { sha256: sha256(bad), size: bad.length } },
      },
      files: { 'head.safetensors': bad },
    });
    const robot = await connect(claims);
    expect(await robot.next('error', 30_000)).toMatchObject({ code: 'incompatible_policy' });
    expect((await robot.closed).code).toBe(1008);
  });
});
