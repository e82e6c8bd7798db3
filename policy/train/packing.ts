import {
  canonicalJson,
  manifestDigest,
  sha256,
  writeWeights,
  type PolicyManifest,
} from '../checkpoint/index.ts';
import { PREPROCESS_HASH, imageSize, type Normalisation } from '../data/index.ts';
import { trunkPairs } from '../lora/trunk.ts';
import type { FinetuneCommon, FinetuneInput, FinishedPolicy } from './finetune-input.ts';

/** What versions of one fine-tune have in common: pairs, or a trunk. */
export function sharedFiles(
  { base, options }: FinetuneCommon,
  weights: (name: string) => Float32Array,
): Record<string, Uint8Array> {
  if (options.lora !== undefined) {
    const pairs = trunkPairs(options.lora, base.trunkSpecs);
    return { 'lora.safetensors': writeWeights(pairs, weights, 'F32', {}) };
  }
  if (options.mode === 'head') return {};
  return { 'trunk.safetensors': writeWeights(base.trunkSpecs, weights, 'F32', {}) };
}

/** A version of one embodiment. */
export function packed(
  { base, spec, stats, options, episodes, from }: FinetuneInput,
  o: {
    readonly normalisation: Normalisation;
    readonly sampler: PolicyManifest['sampler'];
    readonly weights: (name: string) => Float32Array;
    readonly shared: Readonly<Record<string, Uint8Array>>;
  },
): FinishedPolicy {
  const { normalisation, sampler } = o;
  const files: Record<string, Uint8Array> = {
    'head.safetensors': writeWeights(base.headSpecs, o.weights, 'F32', {}),
    ...o.shared,
  };
  const sources = new Set(episodes.flatMap((episode) => episode.labels.map((l) => l.source)));
  const manifest: PolicyManifest = {
    format: 'armature-policy/1',
    preset: 'nano',
    base_digest: base.digest,
    mode: options.mode,
    ...(options.lora === undefined ? {} : { lora: options.lora }),
    spec,
    normalisation,
    stats,
    stats_hash: sha256(canonicalJson({ stats, normalisation })),
    preprocess_hash: PREPROCESS_HASH,
    image: imageSize(spec),
    sampler,
    images: options.images,
    ...(options.frozenWeights === undefined ? {} : { frozen_weights: options.frozenWeights }),
    ...(options.prefixDelayMax === 0 ? {} : { prefix_delay_max: options.prefixDelayMax }),
    labels: sources.size === 0 ? 'none' : [...sources].sort().join(', '),
    ...(from === undefined ? {} : { continues: from.digest }),
    files: Object.fromEntries(
      Object.entries(files).map(([name, bytes]) => [
        name,
        { sha256: sha256(bytes), size: bytes.length },
      ]),
    ),
  };
  return { digest: manifestDigest(manifest), manifest, files };
}
