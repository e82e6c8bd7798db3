import { ArmatureError, type Evaluation, type Sampler } from '@armature/sdk/contract';
import { holdCommand, holdState, meanAction, type ChunkShape } from './baselines.ts';
import { bootstrapInterval } from './bootstrap.ts';
import { pooled, squaredByStep, sums } from './errors.ts';
import { movingDimensions } from './moving.ts';
import type { Predict } from './predictor.ts';
import type { Moments, RecordedEpisode } from './recorded.ts';
import { fitRidge } from './ridge.ts';
import { scoreEpisode, type EpisodeScores, type PredictorName, type Scoring } from './score.ts';
import { appendToTrace, emptyTrace, traceDimensions } from './trace.ts';

/** DDIM steps of the samples from full noise: enough that their number no longer matters. */
export const FULL_NOISE: Sampler = { steps: 10, noise_scale: 1 };

export interface EvaluationInput {
  /** Names of the action dimensions, [A]. */
  readonly names: readonly string[];
  readonly shape: ChunkShape;
  /** What the version's actions are relative to, for the record. */
  readonly reference: string;
  readonly training: readonly RecordedEpisode[];
  readonly heldout: readonly RecordedEpisode[];
  /** True statistics of the training set. */
  readonly state: Moments;
  readonly action: Moments;
  /** For each action dimension the state dimension of the same joint, or null. */
  readonly stateOf: readonly (number | null)[];
  readonly predict: Predict;
  readonly served: Sampler;
  readonly usesLastCommand: boolean;
  readonly blind: boolean;
  readonly seed: number;
  readonly framesPerCall: number;
  /** Share of the start frames done, 0 to 1. */
  readonly onProgress: (share: number) => void | Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Held-out evaluation over every start frame of every episode: actions t … t+H−1, steps past the
 * end masked, errors in units of the training set's standard deviation per dimension. Dimensions
 * that never move in the training set have no such unit and are left out of every figure.
 *
 * @throws ArmatureError invalid_dataset if there is nothing to score or no scale to score by;
 *   the signal's reason if it is aborted.
 */
export async function evaluate(input: EvaluationInput): Promise<Evaluation> {
  const { shape, heldout } = input;
  const scored = scoredDimensions(input);
  const moving = movingDimensions(input.training, shape.actions).filter((d) => scored.includes(d));
  const first = heldout[0];
  if (first === undefined) {
    throw new ArmatureError('empty_dataset', 'the held-out set has no episodes', {
      field: 'heldout_dataset_id',
      fix: 'Give a held-out set with at least one episode, or none.',
    });
  }
  const shown = traceDimensions(input.training, shape.actions, scored);
  const trace = emptyTrace(
    first,
    shown.map((d) => nameOf(input, d)),
  );
  const scoring = await scoringOf(input);
  const total = heldout.reduce((frames, episode) => frames + episode.length, 0);
  let done = 0;
  const scores: EpisodeScores[] = [];
  for (const episode of heldout) {
    scores.push(
      await scoreEpisode(
        episode,
        scoring,
        (t, chunk) => {
          if (episode === first && t % shape.horizon === 0) {
            appendToTrace(trace, chunk, episode, t, shown, shape);
          }
        },
        async (frames) => {
          done += frames;
          await input.onProgress(done / total);
          input.signal.throwIfAborted();
        },
      ),
    );
  }
  return summarise(input, scores, scored, moving, trace);
}

async function scoringOf(input: EvaluationInput): Promise<Scoring> {
  const { shape } = input;
  const hold = holdState(shape, input.stateOf, input.action.mean);
  return {
    shape,
    std: input.action.std,
    baselines: {
      hold,
      hold_command: holdCommand(shape, hold),
      mean: meanAction(shape, input.action.mean),
      ridge: await fitRidge(input.training, shape, input.state),
    },
    predict: input.predict,
    full: FULL_NOISE,
    served: input.served,
    usesLastCommand: input.usesLastCommand,
    blind: input.blind,
    seed: input.seed,
    framesPerCall: input.framesPerCall,
  };
}

function scoredDimensions(input: EvaluationInput): number[] {
  const scored = input.action.std.flatMap((std, d) => (std > 0 ? [d] : []));
  if (scored.length === 0) {
    throw new ArmatureError('invalid_dataset', 'no action of the training set ever changes', {
      field: 'action',
      fix: 'Record demonstrations in which the robot moves.',
    });
  }
  const { horizon } = input.shape;
  if (input.training.every((episode) => episode.length < horizon)) {
    throw new ArmatureError(
      'invalid_dataset',
      `no training episode has the ${horizon} frames of a chunk`,
      { field: 'dataset_id', fix: 'Record longer episodes or register a shorter horizon.' },
    );
  }
  return scored;
}

function nameOf(input: EvaluationInput, dimension: number): string {
  const name = input.names[dimension];
  if (name === undefined) throw new RangeError(`action dimension ${dimension} has no name`);
  return name;
}

function summarise(
  input: EvaluationInput,
  scores: readonly EpisodeScores[],
  scored: readonly number[],
  moving: readonly number[],
  trace: Evaluation['trace'],
): Evaluation {
  const sumsOf = (name: PredictorName): { squared: number; count: number }[] =>
    scores.map((episode) => sums(episode[name], scored));
  const mean8 = sumsOf('mean8');
  const horizon = Math.min(
    input.shape.horizon,
    Math.max(...input.heldout.map((episode) => episode.length)),
  );
  return {
    reference: input.reference,
    episodes_used: input.training.length,
    chunks: input.heldout.reduce((chunks, episode) => chunks + episode.length, 0),
    ...figures(scores, scored, input.served),
    moving:
      moving.length === 0
        ? null
        : {
            dimensions: moving.map((d) => nameOf(input, d)),
            ...figures(scores, moving, input.served),
          },
    episodes: scores.map((episode, e) => ({
      index: input.heldout[e]?.index ?? Number.NaN,
      chunks: input.heldout[e]?.length ?? Number.NaN,
      mean8_mse: pooled([episode.mean8], scored).mse,
      served_mse: pooled([episode.served], scored).mse,
      hold_mse: pooled([episode.hold], scored).mse,
    })),
    ci95: {
      mean8_mse: bootstrapInterval(mean8, input.seed),
      served_mse: bootstrapInterval(sumsOf('served'), input.seed),
      blank8_minus_mean8_mse: bootstrapInterval(sumsOf('blank8'), input.seed, mean8),
    },
    served_mse_by_step: squaredByStep(
      scores.map((episode) => episode.served),
      scored,
    ).slice(0, horizon),
    trace,
  };
}

function figures(
  scores: readonly EpisodeScores[],
  dimensions: readonly number[],
  served: Sampler,
): Pick<Evaluation, PredictorName> {
  const pair = (name: PredictorName): { mse: number; l1: number } =>
    pooled(
      scores.map((episode) => episode[name]),
      dimensions,
    );
  return {
    sample: pair('sample'),
    mean8: pair('mean8'),
    served: { ...pair('served'), ...served },
    hold: pair('hold'),
    hold_command: pair('hold_command'),
    mean: pair('mean'),
    ridge: pair('ridge'),
    blank8: pair('blank8'),
  };
}
