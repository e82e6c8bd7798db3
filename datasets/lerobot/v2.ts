import type { Dataset, Label } from '../dataset.ts';
import type { BlobSource } from '../source/blob-source.ts';
import { fillTemplate, type Info, videoTemplate } from './info.ts';
import { LeRobotDataset } from './lerobot-dataset.ts';
import {
  EPISODES_PATH,
  episodeLineSchema,
  LABELS_PATH,
  labelLineSchema,
  readLines,
  TASKS_PATH,
  taskLineSchema,
} from './lines.ts';

/**
 * Opens a LeRobot v2.0 or v2.1 set: one parquet file an episode, one mp4 file an episode and
 * camera. The two differ in the files of their statistics alone, which are computed here anyway.
 * @throws ArmatureError `invalid_dataset` naming the file and field that is missing or wrong.
 */
export async function openLeRobotV2(source: BlobSource, info: Info): Promise<Dataset> {
  const tasks = await readLines(source, TASKS_PATH, taskLineSchema);
  const episodes = await readLines(source, EPISODES_PATH, episodeLineSchema);
  const place = (index: number) => ({
    episode_index: index,
    episode_chunk: Math.floor(index / info.chunks_size),
  });
  return new LeRobotDataset(source, info, {
    format: `lerobot-${info.codebase_version}`,
    tasks: tasks.sort((a, b) => a.task_index - b.task_index).map(({ task }) => task),
    episodes: episodes.map((line) => ({
      index: line.episode_index,
      length: line.length,
      task: line.tasks[0] ?? '',
    })),
    labels: await readLabels(source),
    episodesPath: EPISODES_PATH,
    rows: async (index) => ({ path: fillTemplate('data_path', info.data_path, place(index)) }),
    video: (index, camera) => ({
      path: fillTemplate('video_path', videoTemplate(info), {
        ...place(index),
        video_key: camera.feature,
      }),
    }),
  });
}

/** The sentences of `meta/labels.jsonl`, where there are any. */
export async function readLabels(source: BlobSource): Promise<Map<number, readonly Label[]>> {
  const labels = new Map<number, readonly Label[]>();
  if ((await source.size(LABELS_PATH)) === null) return labels;
  for (const line of await readLines(source, LABELS_PATH, labelLineSchema)) {
    labels.set(line.episode_index, line.labels);
  }
  return labels;
}
