import {
  manifestBytes,
  sha256,
  writeWeights,
  type BaseModel,
  type PolicyManifest,
} from '@armature/policy/checkpoint';
import { fitNormalisation, imageSize, PREPROCESS_HASH } from '@armature/policy/data';
import { initialValues } from '@armature/policy/nn';
import type { FeatureStats } from '@armature/sdk/contract';
import { sampleSpec } from './embodiment.ts';

const SEED = 1;
const FRAMES = 200;
/** Commands run this far ahead of the state, in each joint's unit. */
const LEAD = 0.02;

export interface SampleVersion {
  readonly manifest: PolicyManifest;
  readonly manifestBytes: Uint8Array;
  /** sha256 of the manifest. */
  readonly digest: string;
  readonly head: Uint8Array;
}

/**
 * A version of the sample arm whose head is as training starts: what it answers is inside the arm's
 * limits and close to where it is, and means nothing. It stands in until a policy was fine-tuned.
 */
export function sampleVersion(base: BaseModel): SampleVersion {
  const start = new Map(
    base.headSpecs.map((spec) => [spec.name, initialValues(spec, SEED)] as const),
  );
  const head = writeWeights(
    base.headSpecs,
    (name) => {
      const values = start.get(name);
      if (values === undefined) throw new Error(`no values for ${name}`);
      return values;
    },
    'F32',
    {},
  );
  const motion = sampleMotion();
  const stats = {
    state: statsOf(sampleSpec.state, motion.state),
    action: statsOf(sampleSpec.action, motion.action),
  };
  const manifest: PolicyManifest = {
    format: 'armature-policy/1',
    preset: 'nano',
    base_digest: base.digest,
    mode: 'head',
    spec: sampleSpec,
    normalisation: fitNormalisation(sampleSpec, [motion]),
    stats,
    stats_hash: sha256(new TextEncoder().encode(JSON.stringify(stats))),
    preprocess_hash: PREPROCESS_HASH,
    image: imageSize(sampleSpec),
    sampler: { steps: 3, noise_scale: 0 },
    images: 'use',
    labels: 'none',
    files: { 'head.safetensors': { sha256: sha256(head), size: head.length } },
  };
  const bytes = manifestBytes(manifest);
  return { manifest, manifestBytes: bytes, digest: sha256(bytes), head };
}

/** Every joint swings through the middle half of its range, its command a little ahead. */
function sampleMotion() {
  const joints = sampleSpec.action;
  const state = new Float32Array(FRAMES * joints.length);
  const action = new Float32Array(FRAMES * joints.length);
  for (let t = 0; t < FRAMES; t++) {
    joints.forEach(({ min, max }, j) => {
      const phase = (2 * Math.PI * (t + 7 * j)) / FRAMES;
      const at = (min + max) / 2 + ((max - min) / 4) * Math.sin(phase);
      state[t * joints.length + j] = at;
      action[t * joints.length + j] = at + LEAD * Math.cos(phase);
    });
  }
  return { length: FRAMES, state, action };
}

function statsOf(joints: readonly { readonly name: string }[], values: Float32Array): FeatureStats {
  const columns = joints.map((_, j) =>
    Array.from({ length: FRAMES }, (_, t) => values[t * joints.length + j] ?? NaN).sort(
      (a, b) => a - b,
    ),
  );
  const quantile = (q: number) =>
    columns.map((column) => column[Math.round(q * (FRAMES - 1))] ?? NaN);
  const mean = columns.map((column) => column.reduce((sum, value) => sum + value, 0) / FRAMES);
  return {
    names: joints.map(({ name }) => name),
    mean,
    std: columns.map((column, j) =>
      Math.sqrt(column.reduce((sum, value) => sum + (value - (mean[j] ?? 0)) ** 2, 0) / FRAMES),
    ),
    min: quantile(0),
    max: quantile(1),
    q01: quantile(0.01),
    q10: quantile(0.1),
    q50: quantile(0.5),
    q90: quantile(0.9),
    q99: quantile(0.99),
  };
}
