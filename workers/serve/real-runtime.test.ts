import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  baseWeightsUrl,
  loadBase,
  manifestBytes,
  readManifest,
  writeWeights,
  type BaseModel,
  type PolicyManifest,
} from '@armature/policy/checkpoint';
import { fitNormalisation, imageSize, PREPROCESS_HASH, preprocessImage } from '@armature/policy/data';
import { Engine } from '@armature/policy/engine';
import { PolicyRuntime } from '@armature/policy/runtime';
import { Ndarray, type EmbodimentSpec, type FeatureStats, type SessionClaims } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initialValues } from '../../policy/nn/params.ts';
import type { PolicyPort } from './policies/index.ts';
import { rowSeed } from './session/row-seed.ts';
import { armSpec, observation, TestRobot } from './testing/robots.ts';
import { startWorker, type TestWorker } from './testing/worker.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Weights as training starts, none of them zero, so that heads differ in what they answer. */
function weights(specs: BaseModel['headSpecs'], seed: number): Uint8Array {
  const lively = specs.map((spec) =>
    spec.init.kind === 'constant' && spec.init.value === 0
      ? { ...spec, init: { kind: 'normal', std: 0.05 } as const }
      : spec,
  );
  const made = new Map(lively.map((spec) => [spec.name, initialValues(spec, seed)]));
  return writeWeights(specs, (name) => made.get(name) ?? new Float32Array(), 'F32', {});
}

const base = loadBase(readFileSync(baseWeightsUrl('nano')));

function stats(joints: EmbodimentSpec['state']): FeatureStats {
  const zeros = joints.map(() => 0);
  const keys = ['mean', 'std', 'min', 'max', 'q01', 'q10', 'q50', 'q90', 'q99'] as const;
  const figures = Object.fromEntries(keys.map((key) => [key, zeros])) as Omit<FeatureStats, 'names'>;
  return { names: joints.map((joint) => joint.name), ...figures };
}

function makePolicy(spec: EmbodimentSpec, seed: number) {
  const head = weights(base.headSpecs, seed);
  const wave = (width: number) =>
    Float32Array.from({ length: 40 * width }, (_, i) => Math.sin(i / 7 + (i % width)));
  const motion = { length: 40, state: wave(spec.state.length), action: wave(spec.action.length) };
  const manifest: PolicyManifest = {
    format: 'armature-policy/1',
    preset: 'nano',
    base_digest: base.digest,
    mode: 'head',
    spec,
    normalisation: fitNormalisation(spec, [motion]),
    stats: { state: stats(spec.state), action: stats(spec.action) },
    stats_hash: sha256(head),
    preprocess_hash: PREPROCESS_HASH,
    image: imageSize(spec),
    sampler: { steps: 3, noise_scale: 1 },
    images: 'use',
    labels: 'none',
    files: { 'head.safetensors': { sha256: sha256(head), size: head.length } },
  };
  return { manifest, bytes: manifestBytes(manifest), head };
}

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
/** What every run of actions waits for. */
let hold = Promise.resolve();
let held = 0;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, spin: false });
  runtime = await PolicyRuntime.create({ engine, base, buckets: [1, 2], slots: 4 });
  const port: PolicyPort = {
    maxBatch: runtime.maxBatch,
    load: (policy) => runtime.load(policy),
    unload: (handle) => runtime.unload(handle),
    warm: (handle) => runtime.warm(handle),
    batchKey: (handle) => runtime.batchKey(handle),
    act: async (rows) => {
      held += 1;
      await hold;
      return runtime.act(rows);
    },
    reason: (rows) => runtime.reason(rows),
    reasonAndAct: (rows) => runtime.reasonAndAct(rows),
  };
  worker = await startWorker({ runtime: port, readManifest, policySlots: 4 });
});
afterAll(async () => {
  await worker.stop();
  await engine.close();
});

function session(sub: string, tenant: string, spec: EmbodimentSpec, seed: number): SessionClaims {
  const { bytes, head } = makePolicy(spec, seed);
  const digest = sha256(bytes);
  const prefix = `tenants/${tenant}/policies/${digest}/`;
  worker.store.objects.set(`${prefix}manifest.json`, bytes);
  worker.store.objects.set(`${prefix}head.safetensors`, head);
  return {
    ...worker.claims({ sub, tenant }),
    embodiment: { id: `emb_${sub}`, spec },
    policy: { version_id: `pv_${sub}`, digest, prefix },
    reasoning: { when: 'off' },
  };
}

const pixels = Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * 13) % 256);
const seen = (seq: number, state: readonly number[]) =>
  observation(seq, new Uint8Array(), {
    images: { front: { pixels: Ndarray.uint8(pixels, [48, 64, 3]) } },
    state: Ndarray.float32(Float32Array.from(state)),
    instruction: 'reach the red disc',
  });

describe('the real model behind the gateway', () => {
  it('gives robots of two tenants, embodiments and heads in one run what each gets alone', async () => {
    const claims = [
      session('ses_r0', 'ten_a', arm, 11),
      session('ses_r1', 'ten_a', arm, 11),
      session('ses_r2', 'ten_b', gripper, 12),
    ] as const;
    const policies = [makePolicy(arm, 11), makePolicy(arm, 11), makePolicy(gripper, 12)] as const;
    const states = [
      [0.4, 0.4],
      [0.1, -0.2],
      [0.3, 0.1, 0.5],
    ] as const;
    const robots = await Promise.all(
      claims.map(async (own) => TestRobot.open(worker.port, await worker.issuer.sign(own))),
    );
    for (const robot of robots) await robot.next('welcome', 60_000);
    let go = () => {};
    held = 0;
    hold = new Promise((resolve) => (go = resolve));
    robots[0]!.send(seen(0, states[0]));
    await expect.poll(() => held, { timeout: 20_000 }).toBe(1);
    robots[1]!.send(seen(0, states[1]));
    robots[2]!.send(seen(0, states[2]));
    await expect.poll(worker.waiting, { timeout: 20_000 }).toBe(2);
    go();
    for (const [i, robot] of robots.entries()) {
      const chunk = await robot.answer(0, 30_000);
      if (chunk.type !== 'chunk') throw new Error(JSON.stringify(chunk));
      expect(chunk.timings.batch).toBe(i === 0 ? 1 : 2);
      const { manifest } = policies[i]!;
      const handle = await runtime.load({ digest: claims[i]!.policy.digest, manifest, files: {} });
      const [alone] = await runtime.act([
        {
          policy: handle,
          images: { front: preprocessImage(pixels, 64, 48, manifest.image) },
          instruction: 'reach the red disc',
          state: Float32Array.from(states[i]!),
          seed: rowSeed(chunk.chunk_id),
        },
      ]);
      const joints = manifest.spec.action;
      chunk.actions.toFloat32().forEach((value, k) => {
        const { min, max } = joints[k % joints.length]!;
        expect(value).toBeCloseTo(Math.min(Math.max(alone!.actions[k]!, min), max), 4);
      });
      robot.close();
    }
  });

  it('reasons when asked to, and says what with', async () => {
    const claims = {
      ...session('ses_r3', 'ten_a', arm, 11),
      reasoning: { when: 'interval', ms: 1 },
    } as const;
    const robot = await TestRobot.open(worker.port, await worker.issuer.sign(claims));
    await robot.next('welcome', 60_000);
    for (let seq = 0; seq < 3; seq++) {
      robot.send(seen(seq, [0, 0]));
      const chunk = await robot.answer(seq, 30_000);
      expect(chunk).toMatchObject({ type: 'chunk', reasoning: { id: expect.any(String) as string } });
    }
    robot.close();
  });

  it('refuses weights that are no numbers, at load', async () => {
    const claims = session('ses_r4', 'ten_a', arm, 13);
    const { manifest } = makePolicy(arm, 13);
    const head = Buffer.from(worker.store.objects.get(`${claims.policy.prefix}head.safetensors`)!);
    head.writeFloatLE(NaN, head.length - 4);
    const bytes = manifestBytes({
      ...manifest,
      files: { 'head.safetensors': { sha256: sha256(head), size: head.length } },
    });
    const digest = sha256(bytes);
    const prefix = `tenants/ten_a/policies/${digest}/`;
    worker.store.objects.set(`${prefix}manifest.json`, bytes);
    worker.store.objects.set(`${prefix}head.safetensors`, head);
    const bad = { ...claims, policy: { version_id: 'pv_bad', digest, prefix } };
    const robot = await TestRobot.open(worker.port, await worker.issuer.sign(bad));
    expect(await robot.next('error', 30_000)).toMatchObject({ code: 'incompatible_policy' });
    expect((await robot.closed).code).toBe(1008);
  });
});
