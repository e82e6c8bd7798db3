import { createHash } from 'node:crypto';
import {
  manifestBytes,
  writeWeights,
  type BaseModel,
  type PolicyManifest,
} from '@armature/policy/checkpoint';
import { fitNormalisation, imageSize, PREPROCESS_HASH } from '@armature/policy/data';
import type { Engine } from '@armature/policy/engine';
import { Finetune, resolveOptions, type FinishedPolicy } from '@armature/policy/train';
import {
  finetuneOptionsSchema,
  type EmbodimentSpec,
  type FeatureStats,
  type FinetuneMode,
  type FinetuneOptions,
  type SessionClaims,
} from '@armature/sdk/contract';
import { initialValues } from '../../policy/nn/params.ts';
import { plainStats, smallEpisodes } from './small-policy.ts';

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** The same for all, since rows of different steps never share a run. */
const SAMPLER = { steps: 3, noise_scale: 1 };

/** A head as training starts, none of it zero, so that seeds differ in what they answer. */
function headWeights(specs: BaseModel['headSpecs'], seed: number): Uint8Array {
  const made = new Map(
    specs.map((spec) => {
      const silent = spec.init.kind === 'constant' && spec.init.value === 0;
      const lively = silent ? { ...spec, init: { kind: 'normal', std: 0.05 } as const } : spec;
      return [spec.name, initialValues(lively, seed)] as const;
    }),
  );
  return writeWeights(specs, (name) => made.get(name) ?? new Float32Array(), 'F32', {});
}

function stats(joints: EmbodimentSpec['state']): FeatureStats {
  const zeros = joints.map(() => 0);
  const keys = ['mean', 'std', 'min', 'max', 'q01', 'q10', 'q50', 'q90', 'q99'] as const;
  const figures = Object.fromEntries(keys.map((key) => [key, zeros])) as Omit<
    FeatureStats,
    'names'
  >;
  return { names: joints.map((joint) => joint.name), ...figures };
}

/** A version without the digest that it is stored under. */
export type Version = Pick<FinishedPolicy, 'manifest' | 'files'>;

/** A version with a fresh head for the real model. */
export function makePolicy(
  base: BaseModel,
  spec: EmbodimentSpec,
  seed: number,
  more: Pick<PolicyManifest, 'prefix_delay_max'> = {},
): Version {
  const head = headWeights(base.headSpecs, seed);
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
    sampler: SAMPLER,
    images: 'use',
    labels: 'none',
    ...more,
    files: { 'head.safetensors': { sha256: sha256(head), size: head.length } },
  };
  return { manifest, files: { 'head.safetensors': head } };
}

/** A version of a fine-tune of a few steps, large enough that what they move is heard in the actions. */
export async function tunePolicy(
  engine: Engine,
  base: BaseModel,
  spec: EmbodimentSpec,
  mode: FinetuneMode,
  more: Pick<FinetuneOptions, 'frozen_weights'> = {},
): Promise<Version> {
  const names = (joints: EmbodimentSpec['state']) => joints.map((joint) => joint.name);
  const few = { mode, steps: 4, batch_size: 4, learning_rate: 0.05, ...more };
  const finetune = await Finetune.create({
    engine,
    base,
    spec,
    stats: { state: plainStats(names(spec.state)), action: plainStats(names(spec.action)) },
    episodes: smallEpisodes(spec, 2),
    options: resolveOptions(finetuneOptionsSchema.parse(few)),
  });
  while (finetune.stepIndex < finetune.totalSteps) await finetune.step();
  const { manifest, files } = await finetune.finish();
  await finetune.close();
  return { manifest: { ...manifest, sampler: SAMPLER }, files };
}

/** Puts a version where a session token says it lies. */
export async function putPolicy(
  put: (key: string, bytes: Uint8Array) => unknown,
  tenant: string,
  policy: Version,
): Promise<SessionClaims['policy']> {
  const bytes = manifestBytes(policy.manifest);
  const digest = sha256(bytes);
  const prefix = `tenants/${tenant}/policies/${digest}/`;
  await put(`${prefix}manifest.json`, bytes);
  for (const [name, file] of Object.entries(policy.files)) await put(`${prefix}${name}`, file);
  return { version_id: `pv_${digest.slice(0, 8)}`, digest, prefix };
}
