import type { Sampler } from '@armature/sdk/contract';
import type { Baseline, ChunkShape } from './baselines.ts';
import { addChunk, emptyTable, type ErrorTable } from './errors.ts';
import type { ChunkQuery, Predict } from './predictor.ts';
import { mixSeed } from './random.ts';
import { row, type RecordedEpisode } from './recorded.ts';

/** Samples whose mean is the policy's answer with full noise. */
export const SAMPLES = 8;

export const baselineNames = ['hold', 'hold_command', 'mean', 'ridge'] as const;
export type BaselineName = (typeof baselineNames)[number];
export const policyNames = ['sample', 'mean8', 'served', 'blank8'] as const;
export type PredictorName = BaselineName | (typeof policyNames)[number];
export type EpisodeScores = Record<PredictorName, ErrorTable>;

export interface Scoring {
  readonly shape: ChunkShape;
  /** Standard deviations of the training set's actions, [A]. */
  readonly std: readonly number[];
  readonly baselines: Record<BaselineName, Baseline>;
  readonly predict: Predict;
  /** Sampler of the mean of eight: starting noise of scale 1. */
  readonly full: Sampler;
  /** Sampler that the version is served with. */
  readonly served: Sampler;
  /** Whether the policy is told the last command. */
  readonly usesLastCommand: boolean;
  /** Whether the policy was trained without pictures: blanking them again changes nothing. */
  readonly blind: boolean;
  readonly seed: number;
  /** Start frames asked for in one call. */
  readonly framesPerCall: number;
}

/**
 * Errors of every predictor at every start frame of one episode.
 *
 * @param onServed called with the served chunk of each frame in order.
 * @param onFrames called with the number of start frames done since the last call.
 */
export async function scoreEpisode(
  episode: RecordedEpisode,
  scoring: Scoring,
  onServed: (t: number, chunk: Float32Array) => void,
  onFrames: (frames: number) => Promise<void>,
): Promise<EpisodeScores> {
  const { horizon, actions } = scoring.shape;
  const table = (): ErrorTable => emptyTable(horizon, actions);
  const scores: EpisodeScores = {
    hold: table(),
    hold_command: table(),
    mean: table(),
    ridge: table(),
    sample: table(),
    mean8: table(),
    served: table(),
    blank8: table(),
  };
  const held = new Float32Array(horizon * actions);
  for (let from = 0; from < episode.length; from += scoring.framesPerCall) {
    const until = Math.min(episode.length, from + scoring.framesPerCall);
    const frames = Array.from({ length: until - from }, (_, i) => from + i);
    const ask = (queries: ChunkQuery[]): Promise<readonly Float32Array[][]> =>
      askPolicy(scoring.predict, queries);
    const full = await ask(frames.map((t) => query(episode, t, scoring, SAMPLES, false)));
    const served = await ask(frames.map((t) => query(episode, t, scoring, 1, false)));
    const blank = scoring.blind
      ? full
      : await ask(frames.map((t) => query(episode, t, scoring, SAMPLES, true)));
    frames.forEach((t, i) => {
      const add = (name: PredictorName, chunk: Float32Array): void => {
        addChunk(scores[name], chunk, episode, t, scoring.std);
      };
      for (const name of baselineNames) {
        scoring.baselines[name](episode, t, held);
        add(name, held);
      }
      const samples = full[i] ?? [];
      for (const sample of samples) add('sample', sample);
      add('mean8', meanChunk(samples));
      const chunk = meanChunk(served[i] ?? []);
      add('served', chunk);
      onServed(t, chunk);
      add('blank8', meanChunk(blank[i] ?? []));
    });
    await onFrames(frames.length);
  }
  return scores;
}

function query(
  episode: RecordedEpisode,
  t: number,
  scoring: Scoring,
  samples: number,
  blank: boolean,
): ChunkQuery {
  // The same seeds with and without pictures: the difference is the pictures' alone.
  const seeds = Array.from({ length: samples }, (_, k) =>
    mixSeed(scoring.seed, episode.index, t, k),
  );
  return {
    episode: episode.index,
    t,
    ...(scoring.usesLastCommand && t > 0
      ? { lastCommand: row(episode.action, t - 1, scoring.shape.actions) }
      : {}),
    seeds,
    sampler: samples === 1 ? scoring.served : scoring.full,
    blank,
  };
}

async function askPolicy(
  predict: Predict,
  queries: readonly ChunkQuery[],
): Promise<readonly Float32Array[][]> {
  const answers = await predict(queries);
  queries.forEach((asked, i) => {
    const got = answers[i]?.length ?? 0;
    if (got !== asked.seeds.length) {
      throw new RangeError(
        `the policy answered ${got} of ${asked.seeds.length} chunks for episode ${asked.episode}, frame ${asked.t}`,
      );
    }
  });
  return answers;
}

/** Mean of chunks of equal length. */
export function meanChunk(chunks: readonly Float32Array[]): Float32Array {
  const first = chunks[0];
  if (first === undefined) throw new RangeError('no chunk to take the mean of');
  if (chunks.length === 1) return first;
  const mean = new Float32Array(first.length);
  for (let i = 0; i < mean.length; i++) {
    let sum = 0;
    for (const chunk of chunks) sum += chunk[i] ?? Number.NaN;
    mean[i] = sum / chunks.length;
  }
  return mean;
}
