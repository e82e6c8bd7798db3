import type { Evaluation } from '@armature/sdk/contract';
import type { EvalSummary } from '../summary.ts';

/** The part of an evaluation that `--json` gives; `ablated` is that of a policy without pictures. */
export function evaluationSummary(evaluation: Evaluation, ablated: Evaluation | null): EvalSummary {
  const { reference, chunks, sample, mean8, served, hold, hold_command, mean, ridge, blank8 } =
    evaluation;
  const { mean8_mse, blank8_minus_mean8_mse } = evaluation.ci95;
  return {
    ...{ reference, chunks, sample, mean8, served, hold, hold_command, mean, ridge, blank8 },
    ...(ablated === null ? {} : { noimage8: ablated.mean8 }),
    episodes: evaluation.episodes.map((episode) => ({
      index: episode.index,
      mean8_mse: episode.mean8_mse,
      hold_mse: episode.hold_mse,
    })),
    ci95: { mean8_mse, blank8_minus_mean8_mse },
  };
}
