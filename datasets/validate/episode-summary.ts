import type { EpisodeStats } from '@armature/sdk/contract';
import type { Dataset, Episode, EpisodeInfo } from '../dataset.ts';

/** What a report says of a single episode. */
export interface EpisodeSummary {
  readonly episode: number;
  readonly frames: number;
  readonly seconds: number;
  readonly task: string;
  /** `null` where there are no frames, or some values are no numbers. */
  readonly state: EpisodeStats | null;
  readonly action: EpisodeStats | null;
}

export function summaryOf(dataset: Dataset, info: EpisodeInfo, episode: Episode): EpisodeSummary {
  return {
    episode: episode.index,
    frames: episode.length,
    seconds: episode.length / dataset.fps,
    task: info.task,
    state: statsOf(episode.state, dataset.stateNames.length),
    action: statsOf(episode.action, dataset.actionNames.length),
  };
}

/** @param values row-major f32 [rows · width] */
function statsOf(values: Float32Array, width: number): EpisodeStats | null {
  if (values.length === 0 || !values.every(Number.isFinite)) return null;
  const rows = values.length / width;
  const stats: EpisodeStats = { mean: [], std: [], min: [], max: [] };
  for (let dimension = 0; dimension < width; dimension += 1) {
    let sum = 0;
    let min = Infinity;
    let max = -Infinity;
    for (let i = dimension; i < values.length; i += width) {
      const value = values[i] ?? Number.NaN;
      sum += value;
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
    const mean = sum / rows;
    let squares = 0;
    for (let i = dimension; i < values.length; i += width) {
      squares += ((values[i] ?? Number.NaN) - mean) ** 2;
    }
    stats.mean.push(mean);
    stats.std.push(Math.sqrt(squares / rows));
    stats.min.push(min);
    stats.max.push(max);
  }
  return stats;
}
