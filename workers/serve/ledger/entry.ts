import { z } from 'zod';

const count = z.number().int().nonnegative();

/** One chunk that was served. `at` is ISO 8601 in UTC. */
export const usageEntrySchema = z.object({
  kind: z.literal('usage'),
  /** `session:epoch:seq`. */
  id: z.string(),
  tenant_id: z.string(),
  session_id: z.string(),
  policy_version_id: z.string(),
  reasoning_id: z.string().nullable(),
  actions: count,
  /** Tokens of a reasoning that this chunk is the first to use. */
  reasoning_tokens: count,
  /** The chunk's share of its run. */
  compute_us: count,
  /** How far the robot was from where the chunk before had it go, in shares of its joints' ranges. */
  deviation: z.number().nonnegative().optional(),
  at: z.iso.datetime(),
});
export type UsageEntry = z.infer<typeof usageEntrySchema>;

/** One reasoning that a robot was told of, by the id of the observation it saw. */
export const reasoningEntrySchema = z.object({
  kind: z.literal('reasoning'),
  id: z.string(),
  tenant_id: z.string(),
  session_id: z.string(),
  text: z.string(),
  source: z.string(),
  tokens: count,
  created_at: z.iso.datetime(),
});
export type ReasoningEntry = z.infer<typeof reasoningEntrySchema>;

/** What a policy version did wrong. */
export const faultEntrySchema = z.object({
  kind: z.literal('fault'),
  /** `session:epoch:seq` of a chunk, `session:epoch:load` of a version that could not be loaded. */
  id: z.string(),
  tenant_id: z.string(),
  session_id: z.string(),
  policy_version_id: z.string(),
  /** Outside of the robot's limits; not a number; not what it should be, or of another robot. */
  fault: z.enum(['refused', 'not_finite', 'load_failed']),
  message: z.string(),
  at: z.iso.datetime(),
});
export type FaultEntry = z.infer<typeof faultEntrySchema>;

export const ledgerEntrySchema = z.discriminatedUnion('kind', [
  usageEntrySchema,
  reasoningEntrySchema,
  faultEntrySchema,
]);
export type LedgerEntry = z.infer<typeof ledgerEntrySchema>;
