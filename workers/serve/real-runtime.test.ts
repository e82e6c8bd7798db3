import { readFileSync } from 'node:fs';
import { baseWeightsUrl, loadBase, readManifest } from '@armature/policy/checkpoint';
import { preprocessImage } from '@armature/policy/data';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import { Ndarray, type EmbodimentSpec, type SessionClaims } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WARM_UP } from './policies/blank-row.ts';
import type { PolicyPort } from './policies/index.ts';
import { rowSeed } from './session/row-seed.ts';
import { makePolicy, putPolicy, sha256 } from '../../test/support/served-policy.ts';
import { armSpec, observation, TestRobot } from './testing/robots.ts';
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
let runtime: PolicyRuntime;
let worker: TestWorker;
/** What every run of actions waits for, and how many do. */
let hold = Promise.resolve();
let held = 0;
/** Rows of the runs that made a graph warm. */
const warm = new Set<number>();
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, spin: false });
  runtime = await PolicyRuntime.create({ engine, base, buckets: [1, 2], slots: 4 });
  const port: PolicyPort = {
    maxBatch: runtime.maxBatch,
    load: (policy) => runtime.load(policy),
    unload: (handle) => runtime.unload(handle),
    batchKey: (handle) => runtime.batchKey(handle),
    act: async (rows) => {
      const isWarmUp = rows[0]?.instruction === WARM_UP;
      if (!isWarmUp) {
        held += 1;
        await hold;
      }
      const results = await runtime.act(rows);
      if (isWarmUp) warm.add(rows.length);
      return results;
    },
    reason: (rows) => runtime.reason(rows),
    reasonAndAct: (rows) => runtime.reasonAndAct(rows),
  };
  worker = await startWorker({ runtime: port, readManifest, policySlots: 4, buckets: [1, 2] });
});
afterAll(async () => {
  await worker.stop();
  await engine.close();
});

const put = (key: string, bytes: Uint8Array) => worker.store.objects.set(key, bytes);
async function session(
  sub: string,
  tenant: string,
  policy: ReturnType<typeof makePolicy>,
): Promise<SessionClaims> {
  return {
    ...worker.claims({ sub, tenant }),
    embodiment: { id: `emb_${sub}`, spec: policy.manifest.spec },
    policy: await putPolicy(put, tenant, policy),
    reasoning: { when: 'off' },
  };
}
const connect = async (claims: SessionClaims) =>
  TestRobot.open(worker.port, await worker.issuer.sign(claims));

const pixels = Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * 13) % 256);
const instruction = 'reach the red disc';
const seen = (seq: number, state: readonly number[]) =>
  observation(seq, new Uint8Array(), {
    images: { front: { pixels: Ndarray.uint8(pixels, [48, 64, 3]) } },
    state: Ndarray.float32(Float32Array.from(state)),
    instruction,
  });

/** The chunk that the model gives for this row alone, inside the robot's limits. */
async function alone(
  policy: ReturnType<typeof makePolicy>,
  digest: string,
  state: readonly number[],
  chunkId: string,
): Promise<number[]> {
  const { manifest } = policy;
  const [result] = await runtime.act([
    {
      policy: await runtime.load({ digest, manifest, files: {} }),
      images: { front: preprocessImage(pixels, 64, 48, manifest.image) },
      instruction,
      state: Float32Array.from(state),
      seed: rowSeed(chunkId),
    },
  ]);
  const joints: EmbodimentSpec['action'] = manifest.spec.action;
  return [...(result?.actions ?? [])].map((value, k) => {
    const { min, max } = joints[k % joints.length]!;
    return Math.min(Math.max(value, min), max);
  });
}

describe('the real model behind the gateway', () => {
  it('gives robots of two tenants, embodiments and heads in one run what each gets alone', async () => {
    const policies = [makePolicy(base, arm, 11), makePolicy(base, gripper, 12)] as const;
    const plan = [
      { tenant: 'ten_a', policy: policies[0], state: [0.4, 0.4] },
      { tenant: 'ten_a', policy: policies[0], state: [0.1, -0.2] },
      { tenant: 'ten_b', policy: policies[1], state: [0.3, 0.1, 0.5] },
    ];
    const robots = await Promise.all(
      plan.map(async ({ tenant, policy, state }, i) => {
        const claims = await session(`ses_r${i}`, tenant, policy);
        return { robot: await connect(claims), claims, policy, state };
      }),
    );
    for (const { robot } of robots) await robot.next('welcome', 60_000);
    await expect.poll(() => warm.has(2), { timeout: 60_000 }).toBe(true);
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
      const expected = await alone(policy, claims.policy.digest, state, chunk.chunk_id);
      const values = chunk.actions.toFloat32();
      expect(values).toHaveLength(expected.length);
      expected.forEach((value, k) => expect(values[k]).toBeCloseTo(value, 4));
      robot.close();
    }
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
    const { manifest, head } = makePolicy(base, arm, 13);
    const bad = Buffer.from(head);
    bad.writeFloatLE(NaN, bad.length - 4);
    const files = { 'head.safetensors': { sha256: sha256(bad), size: bad.length } };
    const claims = await session('ses_r9', 'ten_a', {
      manifest: { ...manifest, files },
      head: bad,
    });
    const robot = await connect(claims);
    expect(await robot.next('error', 30_000)).toMatchObject({ code: 'incompatible_policy' });
    expect((await robot.closed).code).toBe(1008);
  });
});
