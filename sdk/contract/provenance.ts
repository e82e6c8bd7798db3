import * as z from 'zod';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits');
const errorPair = z.object({ mse: z.number(), l1: z.number() });

/** A version of a data set: what its files are, and what of it was used. */
export const dataVersionSchema = z.object({
  /** sha256 over path, size and sha256 of every file, and over the episodes that were left out. */
  digest: sha256,
  episodes: z.number().int(),
  frames: z.number().int(),
});
export type DataVersion = z.infer<typeof dataVersionSchema>;

/** What trained a version. */
export const codeVersionSchema = z.object({
  /** Of the package, e.g. `0.1.0`. */
  version: z.string(),
  /** The build that its operator named, or `sources-` and the sha256 of the policy's sources. */
  build: z.string(),
});
export type CodeVersion = z.infer<typeof codeVersionSchema>;

/** The figures of a held-out evaluation that tell versions apart; the fine-tune has all of them. */
export const heldoutScoreSchema = z.object({
  data: dataVersionSchema,
  chunks: z.number().int(),
  /** The chunk as served, and the mean of eight samples, against what was recorded; normalised. */
  served: errorPair,
  mean8: errorPair,
  /** The current state held, for comparison. */
  hold: errorPair,
});
export type HeldoutScore = z.infer<typeof heldoutScoreSchema>;

/** How often a version did its task in a simulator. */
export const simulatedScoreSchema = z
  .strictObject({
    /** Name of the simulator and its task, with what else makes the score repeatable. */
    simulator: z.string().min(1).max(120),
    episodes: z.number().int().min(1).max(1_000_000),
    successes: z.number().int().min(0),
  })
  .refine(({ episodes, successes }) => successes <= episodes, {
    path: ['successes'],
    message: 'must not be more than episodes',
  });
export type SimulatedScore = z.infer<typeof simulatedScoreSchema>;

/** What the platform writes into the manifest of a version that it makes; older ones are without. */
export const provenanceSchema = z.object({
  /** What was trained on, in order. */
  data: z.array(dataVersionSchema).min(1),
  code: codeVersionSchema,
  /** Null where no set was held out. */
  heldout: heldoutScoreSchema.nullable(),
});
export type Provenance = z.infer<typeof provenanceSchema>;
