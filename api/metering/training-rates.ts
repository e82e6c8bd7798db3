import { readFileSync } from 'node:fs';
import { finetuneModeSchema } from '@armature/sdk/contract';
import { z } from 'zod';

const positive = z.number().positive();
const ratesSchema = z.strictObject({
  /** Seconds before the first and after the last step, whatever the data. */
  prepare_s: positive,
  evaluate_s: positive,
  decoded_frames_per_s: positive,
  modes: z.record(
    finetuneModeSchema,
    z.strictObject({
      steps: positive.int(),
      batch_size: positive.int(),
      samples_per_s: positive,
    }),
  ),
});
export type TrainingRates = z.infer<typeof ratesSchema>;

/**
 * What training takes where a tenant has not trained in a mode yet: round figures, of the order that
 * `npm run bench -- train` prints with two threads; a tenant’s own replace them.
 */
export const trainingRates: TrainingRates = ratesSchema.parse(
  JSON.parse(readFileSync(new URL('./training-rates.json', import.meta.url), 'utf8')),
);
