import { z } from 'zod';
import { canonicalJson } from '../checkpoint/index.ts';
import { FLOAT_FORMATS, WEIGHT_FORMATS } from './formats.ts';

const count = z.number().int().nonnegative();
const hash = z.string().regex(/^[0-9a-f]{64}$/);
/** -1 in a shape: not known beforehand. */
const shape = z.array(z.number().int().min(-1));
const value = z.object({ name: z.string(), dtype: z.string(), shape });

/** What an exported model is made of, and how far its weights are from its source's. */
export const modelManifestSchema = z.object({
  format: z.literal('armature-model/2'),
  weights: z.enum(WEIGHT_FORMATS),
  rest: z.enum(FLOAT_FORMATS),
  signature: z.object({
    batch: count,
    views: count,
    visualTokens: count,
    textTokens: count,
    reasoningTokens: count,
  }),
  /** Parameters that were stored in the data file. */
  parameters: count,
  /** Those that no source holds: where they lie, by scope, and the seed that they start from. */
  fresh: z.array(z.object({ file: z.string(), scope: z.string(), parameters: count, seed: count })),
  graphs: z.record(z.string(), z.object({ inputs: z.array(value), outputs: z.array(value) })),
  errors: z.object({
    /** Of each matrix that is not stored as its source has it. */
    weights: z.record(
      z.string(),
      z.object({ format: z.string(), max: z.number(), rms: z.number() }),
    ),
    /** Of the logits of a fixed text, against float32; null where they were not compared. */
    logits: z.object({ cosine: z.number(), max_difference: z.number() }).nullable(),
  }),
  files: z.record(z.string(), z.object({ sha256: hash, size: count })),
});
export type ModelManifest = z.infer<typeof modelManifestSchema>;

export function modelManifestBytes(manifest: ModelManifest): Uint8Array {
  return new TextEncoder().encode(`${canonicalJson(manifest)}\n`);
}

/** @throws ZodError or SyntaxError when the bytes are no manifest. */
export function readModelManifest(bytes: Uint8Array): ModelManifest {
  return modelManifestSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
}
