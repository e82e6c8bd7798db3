import { ArmatureError } from '@armature/sdk/contract';
import type { Dataset } from './dataset.ts';

/**
 * The set as if it had never had some of its episodes; the others keep their numbers.
 * @throws ArmatureError `not_found` for an episode that the set does not have.
 */
export function withoutEpisodes(dataset: Dataset, excluded: readonly number[]): Dataset {
  if (excluded.length === 0) return dataset;
  const left = new Set(excluded);
  const unknown = excluded.find((index) => dataset.episodes.every((one) => one.index !== index));
  if (unknown !== undefined) throw absent(unknown);
  const check = (index: number): void => {
    if (left.has(index)) throw absent(index);
  };
  return {
    format: dataset.format,
    robotType: dataset.robotType,
    fps: dataset.fps,
    stateNames: dataset.stateNames,
    actionNames: dataset.actionNames,
    cameras: dataset.cameras,
    tasks: dataset.tasks,
    episodes: dataset.episodes.filter(({ index }) => !left.has(index)),
    readEpisode: async (index) => {
      check(index);
      return await dataset.readEpisode(index);
    },
    decodeFrames: async (index, ...rest) => {
      check(index);
      return await dataset.decodeFrames(index, ...rest);
    },
    video: async (index, camera) => {
      check(index);
      return await dataset.video(index, camera);
    },
    close: () => dataset.close(),
  };
}

function absent(index: number): ArmatureError {
  return new ArmatureError('not_found', `the data set has no episode ${index}`, {
    field: 'episode',
    fix: 'Use an episode that the set has.',
  });
}
