import { readFile } from 'node:fs/promises';
import { type BaseModel, baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { type ActRow, type PolicyHandle, PolicyRuntime } from '@armature/policy/runtime';
import { chunkErrors, type HeldOutFrame, spacedFrames } from '@armature/policy/train';
import type { FrozenForm } from '@armature/sdk/contract';
import { trio } from '@armature/sim';
import { successRate } from '../closed-loop.ts';
import { demonstrations, trainedPolicy } from '../fresh-policy.ts';
import type { PartMeasurement, PartOptions } from '../result.ts';
import { quantile, timed } from '../timing.ts';
import { byLayer } from './frozen/by-layer.ts';

const FORMS = ['float32', 'int8', 'int4'] as const;
const HELD_OUT_SEED = 77;
const BATCH = 16;

const sizes = {
  full: {
    training: { mode: 'policy', steps: 500, batch_size: 64 },
    ...{ demos: 50, heldOut: 12, frames: 240, scenes: 60, turns: 8, calls: 8 },
  },
  quick: {
    training: { mode: 'head', steps: 4, batch_size: 16 },
    ...{ demos: 3, heldOut: 1, frames: 16, scenes: 1, turns: 1, calls: 1 },
  },
} as const;

/**
 * Frozen layers in float32 and in few bits, side by side: a version of mode `policy` is trained on the features of
 * each form, from the same demonstrations and seed, and served with it. Held-out error, success, and what a chunk
 * takes for one robot, by turns; before that each layer alone.
 */
export async function measureFrozen({ threads, quick }: PartOptions): Promise<PartMeasurement> {
  const size = quick ? sizes.quick : sizes.full;
  const engine = await Engine.start({ threads, name: 'bench' });
  const base = loadBase(await readFile(baseWeightsUrl('nano')));
  const figures = await byLayer(engine, base, quick);
  const runtime = await PolicyRuntime.create({ engine, base, buckets: [1, BATCH], slots: 3 });
  const policies = await trained(engine, base, runtime, size);
  const frames = spacedFrames(await demonstrations(trio, size.heldOut, HELD_OUT_SEED), size.frames);
  const times = await latencies(runtime, policies, frames, size);
  const summary = {
    frozen_held_out_error: {} as Record<string, number>,
    frozen_success: {} as Record<string, number>,
    frozen_act_latency_vs_float32: {} as Record<string, number>,
    frozen_reason_latency_vs_float32: {} as Record<string, number>,
  };
  const plain = times.get('float32');
  for (const [form, policy] of policies) {
    const { sampler } = policy.manifest;
    const errors = await chunkErrors({ runtime, policy, frames, sampler, batch: BATCH });
    const error = errors.reduce((sum, value) => sum + value, 0) / errors.length;
    const { scenes } = size;
    const rate = await successRate({ runtime, policy, embodiment: trio, scenes, sampler });
    const taken = times.get(form);
    if (taken === undefined || plain === undefined) throw new RangeError(`${form} was not timed`);
    figures.push(
      { name: `${form}: held-out error`, value: error, unit: 'of the variance' },
      { name: `${form}: success`, value: 100 * rate, unit: '%' },
      { name: `${form}: a chunk`, value: taken.act, unit: 'ms' },
      { name: `${form}: a chunk with new reasoning`, value: taken.reason, unit: 'ms' },
    );
    summary.frozen_held_out_error[form] = error;
    summary.frozen_success[form] = rate;
    summary.frozen_act_latency_vs_float32[form] = taken.act / plain.act;
    summary.frozen_reason_latency_vs_float32[form] = taken.reason / plain.reason;
  }
  await runtime.close();
  await engine.close();
  return { figures, summary };
}

type Policies = ReadonlyMap<FrozenForm, PolicyHandle>;

async function trained(
  engine: Engine,
  base: BaseModel,
  runtime: PolicyRuntime,
  size: (typeof sizes)[keyof typeof sizes],
): Promise<Policies> {
  const episodes = await demonstrations(trio, size.demos);
  const policies = new Map<FrozenForm, PolicyHandle>();
  for (const form of FORMS) {
    const options = { ...size.training, frozen_weights: form };
    const version = await trainedPolicy(engine, base, trio, episodes, options);
    policies.set(form, await runtime.load(version));
  }
  return policies;
}

/** Median milliseconds of a chunk for one robot, five denoising steps, without and with new reasoning. */
async function latencies(
  runtime: PolicyRuntime,
  policies: Policies,
  frames: readonly HeldOutFrame[],
  { turns, calls }: { readonly turns: number; readonly calls: number },
): Promise<Map<FrozenForm, { act: number; reason: number }>> {
  const times = new Map<FrozenForm, Times>(
    [...policies].map(([form]) => [form, { act: [], reason: [] }]),
  );
  for (let turn = 0; turn < turns; turn++) {
    for (const [form, policy] of policies) {
      const row = rowOf(policy, frames[0]);
      const taken = times.get(form);
      taken?.act.push(...(await timed(calls, 1, () => runtime.act([row]))));
      taken?.reason.push(...(await timed(calls, 1, () => runtime.reasonAndAct([row]))));
    }
  }
  const median = ({ act, reason }: Times) => ({
    act: quantile(act, 0.5),
    reason: quantile(reason, 0.5),
  });
  return new Map([...times].map(([form, taken]) => [form, median(taken)]));
}

interface Times {
  readonly act: number[];
  readonly reason: number[];
}

function rowOf(policy: PolicyHandle, frame: HeldOutFrame | undefined): ActRow {
  if (frame === undefined) throw new RangeError('there is no frame');
  const { episode, t } = frame;
  const { cameras, state } = policy.manifest.spec;
  return {
    policy,
    images: Object.fromEntries(cameras.map(({ name }) => [name, episode.image(name, t)])),
    instruction: episode.instruction,
    state: episode.state.subarray(t * state.length, (t + 1) * state.length),
    seed: 1,
    sampler: { steps: 5, noise_scale: 1 },
  };
}
