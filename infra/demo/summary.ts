import { z } from 'zod';

const errors = z.strictObject({ mse: z.number(), l1: z.number() });
const interval = z.tuple([z.number(), z.number()]);

export const evalSummarySchema = z.strictObject({
  reference: z.string(),
  chunks: z.number().int(),
  sample: errors,
  mean8: errors,
  served: errors.extend({ steps: z.number().int(), noise_scale: z.number() }),
  hold: errors,
  hold_command: errors,
  mean: errors,
  ridge: errors,
  blank8: errors,
  /** The mean of eight samples of a policy that was trained without pictures. */
  noimage8: errors.optional(),
  episodes: z.array(
    z.strictObject({ index: z.number().int(), mean8_mse: z.number(), hold_mse: z.number() }),
  ),
  ci95: z.strictObject({ mean8_mse: interval, blank8_minus_mean8_mse: interval }),
});

export const closedLoopSummarySchema = z.strictObject({
  embodiment: z.string(),
  /** Shares of `n` episodes in which the object was reached. */
  before: z.number(),
  after: z.number(),
  blank: z.number(),
  /** Share that reached the object of the changed instruction. */
  renamed: z.number(),
  n: z.number().int(),
  /** Share of a policy whose actions are relative to the last command instead of the state. */
  after_last_command: z.number(),
  curve: z.array(z.strictObject({ demos: z.number().int(), after: z.number() })).optional(),
});

/** What `--json` writes: the demo's measurements. Parts that do not apply are absent. */
export const demoSummarySchema = z.strictObject({
  dataset: z.strictObject({
    name: z.string(),
    episodes: z.number().int(),
    frames: z.number().int(),
  }),
  ingest: z.strictObject({ frames_per_s: z.number(), peak_rss_mb: z.number() }),
  train: z.strictObject({
    mode: z.string(),
    steps: z.number().int(),
    samples_per_s: z.number(),
    seconds: z.number(),
    first_loss: z.number(),
    last_loss: z.number(),
  }),
  eval: evalSummarySchema.optional(),
  serve: z.strictObject({
    chunks: z.number().int(),
    chunks_per_s: z.number(),
    actions_per_s: z.number(),
    p50_ms: z.number(),
    p99_ms: z.number(),
    starved_ticks: z.number().int(),
  }),
  usage: z.strictObject({ actions: z.number().int(), chunks: z.number().int() }),
  reasoning: z.array(
    z.strictObject({
      id: z.string(),
      text: z.string(),
      source: z.string(),
      chunks: z.number().int(),
    }),
  ),
  closed_loop: z.array(closedLoopSummarySchema).optional(),
});
export type DemoSummary = z.infer<typeof demoSummarySchema>;
export type EvalSummary = z.infer<typeof evalSummarySchema>;
