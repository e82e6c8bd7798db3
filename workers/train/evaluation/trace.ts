import { varianceWithin } from './moving.ts';
import { type RecordedEpisode } from './recorded.ts';

/** Joints that a plot of one episode shows. */
export const TRACE_JOINTS = 6;

/** Predicted and recorded commands of one episode, chunk after chunk; one series per joint. */
export interface Trace {
  episode: number;
  names: string[];
  /** One series per name, T values each, raw units. */
  predicted: number[][];
  recorded: number[][];
}

/** The (at most six) scored dimensions that move most within episodes, in their own order. */
export function traceDimensions(
  training: readonly RecordedEpisode[],
  width: number,
  scored: readonly number[],
): number[] {
  const share = varianceWithin(training, width);
  return [...scored]
    .sort((a, b) => share[b]! - share[a]!)
    .slice(0, TRACE_JOINTS)
    .sort((a, b) => a - b);
}

export function emptyTrace(episode: RecordedEpisode, names: string[]): Trace {
  return {
    episode: episode.index,
    names,
    predicted: names.map(() => []),
    recorded: names.map(() => []),
  };
}

/** Appends the chunk predicted at `t`, as far as the episode goes; call it every H frames. */
export function appendToTrace(
  trace: Trace,
  chunk: Float32Array,
  episode: RecordedEpisode,
  t: number,
  dimensions: readonly number[],
  shape: { readonly horizon: number; readonly actions: number },
): void {
  const steps = Math.min(shape.horizon, episode.length - t);
  dimensions.forEach((d, series) => {
    for (let h = 0; h < steps; h++) {
      trace.predicted[series]?.push(chunk[h * shape.actions + d]!);
      trace.recorded[series]?.push(episode.action[(t + h) * shape.actions + d]!);
    }
  });
}
