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
  at: z.iso.datetime(),
});
export type UsageEntry = z.infer<typeof usageEntrySchema>;

/** One reasoning that was made, by the id of the observation it saw. */
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

export const ledgerEntrySchema = z.discriminatedUnion('kind', [
  usageEntrySchema,
  reasoningEntrySchema,
]);
export type LedgerEntry = z.infer<typeof ledgerEntrySchema>;
