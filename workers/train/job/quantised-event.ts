import type { NewJobEvent } from '@armature/db';
import type { TrainerProgress } from './workshop.ts';

/** How far frozen layers in few bits are from float32, as an event of the job. */
export function quantisedEvent({
  form,
  weights,
  views,
  reasoning,
}: Extract<TrainerProgress, { phase: 'quantised' }>): NewJobEvent {
  const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
  return {
    kind: 'message',
    message: `frozen layers in ${form}: their weights are off by ${percent(weights)}, what views show by ${percent(views)}, reasoning by ${percent(reasoning)} (root mean square)`,
    data: { weights_error: weights, views_error: views, reasoning_error: reasoning },
  };
}
