import { z } from 'zod';
import {
  embodimentSpecSchema,
  featureStatsSchema,
  finetuneModeSchema,
  frozenFormSchema,
  provenanceSchema,
  samplerSchema,
} from '@armature/sdk/contract';
import { trunkLoraSchema } from '../lora/trunk.ts';
import { normalisationSchema } from '../data/normalise.ts';
import { canonicalJson, sha256 } from './digest.ts';

const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** What a policy version is made of; its own sha256 is the version's digest. */
export const policyManifestSchema = z.object({
  format: z.literal('armature-policy/1'),
  preset: z.literal('nano'),
  base_digest: hash,
  mode: finetuneModeSchema,
  /** The pairs in `lora.safetensors`; with mode `lora` alone. */
  lora: trunkLoraSchema.optional(),
  /** The embodiment as trained, references included. */
  spec: embodimentSpecSchema,
  normalisation: normalisationSchema,
  /** True statistics of the training set. */
  stats: z.object({ state: featureStatsSchema, action: featureStatsSchema }),
  stats_hash: hash,
  preprocess_hash: z.string(),
  image: z.object({ width: z.number().int(), height: z.number().int() }),
  /** Denoising steps and scale of the starting noise, chosen on training episodes set aside. */
  sampler: samplerSchema,
  /** Whether pictures were blanked in training. */
  images: z.enum(['use', 'blank']),
  /**
   * Most actions of a previous chunk that it was trained to go on from (trained real-time chunking);
   * absent where it was not.
   */
  prefix_delay_max: z.number().int().positive().optional(),
  /**
   * What the frozen layers were held in when the features that it was trained on were computed; serving has
   * them the same. Absent: float32.
   */
  frozen_weights: frozenFormSchema.exclude(['float32']).optional(),
  labels: z.string(),
  /** Digest of the version that training went on from, whose normalisation this one has. */
  continues: hash.optional(),
  /** What the platform knows of how it was made; absent where it was made outside, or before. */
  provenance: provenanceSchema.optional(),
  files: z.record(z.string(), z.object({ sha256: hash, size: z.number().int() })),
});
export type PolicyManifest = z.infer<typeof policyManifestSchema>;

export function manifestBytes(manifest: PolicyManifest): Uint8Array {
  return new TextEncoder().encode(canonicalJson(manifest));
}

export function manifestDigest(manifest: PolicyManifest): string {
  return sha256(manifestBytes(manifest));
}

/** @throws ZodError or SyntaxError when the bytes are no manifest. */
export function readManifest(bytes: Uint8Array): PolicyManifest {
  return policyManifestSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
}

/** Whether a version runs on the base's own trunk, and only its head, or its head and pairs, are its own. */
export function standsOnBase({ mode }: Pick<PolicyManifest, 'mode'>): boolean {
  return mode === 'head' || mode === 'lora';
}
