import { createHash } from 'node:crypto';
import {
  manifestBytes,
  writeWeights,
  type BaseModel,
  type PolicyManifest,
} from '@armature/policy/checkpoint';
import { fitNormalisation, imageSize, PREPROCESS_HASH } from '@armature/policy/data';
import type { EmbodimentSpec, FeatureStats, SessionClaims } from '@armature/sdk/contract';
import { initialValues } from '../../policy/nn/params.ts';

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

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

/** A version with a fresh head for the real model. */
export function makePolicy(
  base: BaseModel,
  spec: EmbodimentSpec,
  seed: number,
  more: Pick<PolicyManifest, 'prefix_delay_max'> = {},
) {
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
    sampler: { steps: 3, noise_scale: 1 },
    images: 'use',
    labels: 'none',
    ...more,
    files: { 'head.safetensors': { sha256: sha256(head), size: head.length } },
  };
  return { manifest, head };
}

/** Puts a version where a session token says it lies. */
export async function putPolicy(
  put: (key: string, bytes: Uint8Array) => unknown,
  tenant: string,
  policy: { manifest: PolicyManifest; head: Uint8Array },
): Promise<SessionClaims['policy']> {
  const bytes = manifestBytes(policy.manifest);
  const digest = sha256(bytes);
  const prefix = `tenants/${tenant}/policies/${digest}/`;
  await put(`${prefix}manifest.json`, bytes);
  await put(`${prefix}head.safetensors`, policy.head);
  return { version_id: `pv_${digest.slice(0, 8)}`, digest, prefix };
}
