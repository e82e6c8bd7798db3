import * as z from 'zod';

const errorPair = z.object({ mse: z.number(), l1: z.number() });
const interval = z.tuple([z.number(), z.number()]);

const scores = {
  /** One sample from full noise. */
  sample: errorPair,
  /** Mean of eight samples from full noise. */
  mean8: errorPair,
  /** The chunk as served: with the version's own sampler. */
  served: errorPair.extend({ steps: z.number().int(), noise_scale: z.number() }),
  /** The current state held. */
  hold: errorPair,
  /** The last command held. */
  hold_command: errorPair,
  /** The mean action of the training set. */
  mean: errorPair,
  /** Ridge regression from the state to the chunk. */
  ridge: errorPair,
  /** Mean of eight samples with the pictures blanked. */
  blank8: errorPair,
} as const;

/**
 * Held-out evaluation: every chunk of every episode, steps past the end masked, normalised by the
 * training set's true statistics.
 */
export const evaluationSchema = z.object({
  reference: z.string(),
  /** Training episodes that the version learnt from. */
  episodes_used: z.number().int(),
  chunks: z.number().int(),
  ...scores,
  /** Dimensions whose variance within episodes is at least half of their total, apart. */
  moving: z.object({ dimensions: z.array(z.string()), ...scores }).nullable(),
  episodes: z.array(
    z.object({
      index: z.number().int(),
      chunks: z.number().int(),
      mean8_mse: z.number(),
      served_mse: z.number(),
      hold_mse: z.number(),
    }),
  ),
  /** 95 % bootstrap intervals over episodes. */
  ci95: z.object({
    mean8_mse: interval,
    served_mse: interval,
    blank8_minus_mean8_mse: interval,
  }),
  /** Mean squared error of the served chunk by step of the chunk. */
  served_mse_by_step: z.array(z.number()),
  /** Predicted and recorded values of one episode, chunk after chunk, for a plot: one series a name. */
  trace: z.object({
    episode: z.number().int(),
    names: z.array(z.string()),
    predicted: z.array(z.array(z.number())),
    recorded: z.array(z.array(z.number())),
  }),
});
export type Evaluation = z.infer<typeof evaluationSchema>;
