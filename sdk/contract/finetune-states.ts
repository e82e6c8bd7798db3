import * as z from 'zod';

/**
 * The states of a fine-tune, and those that each may be followed by. The database has the same table and
 * refuses every other change; a test compares the two and tries each pair.
 *
 * - `draft`: made, not started; it takes no place and reserves no cost.
 * - `validating`: waits for its data sets to be validated, then is queued by itself.
 * - `queued`: waits for a worker. `running`: data are read and decoded, then trained on.
 * - `evaluating`: held-out episodes, the sampler. `packaging`: the version is stored.
 * - `pausing`, `cancelling`: asked of a worker that is still busy. `paused`: waits for `resume`.
 * - `user_error`: ended for what the tenant can mend; its error names field and fix.
 * - `failed`: ended for what is ours, after several attempts.
 */
export const finetuneTransitions = {
  draft: ['validating', 'queued', 'cancelled'],
  validating: ['queued', 'user_error', 'cancelled'],
  queued: ['running', 'paused', 'pausing', 'cancelling', 'failed', 'user_error', 'cancelled'],
  running: ['evaluating', 'queued', 'pausing', 'cancelling', 'failed', 'user_error'],
  evaluating: ['packaging', 'running', 'queued', 'pausing', 'cancelling', 'failed', 'user_error'],
  packaging: ['succeeded', 'running', 'queued', 'pausing', 'cancelling', 'failed', 'user_error'],
  pausing: ['paused', 'succeeded', 'cancelling', 'failed', 'user_error'],
  paused: ['queued', 'cancelled'],
  cancelling: ['cancelled', 'failed', 'user_error'],
  succeeded: [],
  failed: ['validating', 'queued'],
  user_error: ['validating', 'queued'],
  cancelled: [],
} as const satisfies Record<string, readonly string[]>;

export type FinetuneStatus = keyof typeof finetuneTransitions;

/** States that a fine-tune begins in. */
export const firstFinetuneStatuses = ['draft', 'validating', 'queued'] as const;
/** States in which a fine-tune takes a place of its tenant's. */
export const liveFinetuneStatuses = [
  'validating',
  'queued',
  'running',
  'evaluating',
  'packaging',
  'pausing',
  'cancelling',
] as const;
/** States that a fine-tune leaves only by being retried, if at all. */
export const endedFinetuneStatuses = ['succeeded', 'failed', 'user_error', 'cancelled'] as const;
/** Every state of a fine-tune. */
export const finetuneStatusSchema = z.enum([
  'draft',
  ...liveFinetuneStatuses,
  'paused',
  ...endedFinetuneStatuses,
]);
