import { ArmatureError } from '@armature/sdk/contract';
import { z } from 'zod';
import type { Camera } from '../dataset.ts';
import type { BlobSource } from '../source/blob-source.ts';
import { readRows } from './columns.ts';

/** Folder of the parquet files that list a v3.0 set's episodes. */
export const EPISODES_FOLDER = 'meta/episodes';
const TASKS_PATH = 'meta/tasks.parquet';

/** An episode of a v3.0 set, and where its rows and pictures lie. */
export interface EpisodeRow {
  readonly index: number;
  readonly length: number;
  readonly tasks: readonly string[];
  readonly data: { readonly chunk: number; readonly file: number };
  /** By feature; `from` and `to` are seconds in the video. */
  readonly videos: ReadonlyMap<string, VideoPlace>;
}

export interface VideoPlace {
  readonly chunk: number;
  readonly file: number;
  readonly from: number;
  readonly to: number;
}

const whole = z.coerce.number().int().nonnegative();
const second = z.number().nonnegative();

/** @throws ArmatureError `invalid_dataset` naming the file and column that is missing or wrong. */
export async function readEpisodeRows(
  source: BlobSource,
  cameras: readonly Camera[],
): Promise<EpisodeRow[]> {
  const shape: Record<string, z.ZodType> = {
    episode_index: whole,
    length: whole,
    tasks: z.array(z.string()),
    'data/chunk_index': whole,
    'data/file_index': whole,
  };
  for (const { feature } of cameras) {
    shape[`videos/${feature}/chunk_index`] = whole;
    shape[`videos/${feature}/file_index`] = whole;
    shape[`videos/${feature}/from_timestamp`] = second;
    shape[`videos/${feature}/to_timestamp`] = second;
  }
  const paths = (await source.list()).filter(
    (path) => path.startsWith(`${EPISODES_FOLDER}/`) && path.endsWith('.parquet'),
  );
  if (paths.length === 0) {
    throw new ArmatureError('invalid_dataset', `the data set has no ${EPISODES_FOLDER}`, {
      field: EPISODES_FOLDER,
      fix: `Add ${EPISODES_FOLDER}; a LeRobot v3.0 data set has it.`,
    });
  }
  const rows: EpisodeRow[] = [];
  for (const path of paths) {
    const table = await readRows(source, path, shape);
    for (const row of table) rows.push(toEpisode(row, cameras));
  }
  return rows.sort((a, b) => a.index - b.index);
}

function toEpisode(row: ReadonlyMap<string, unknown>, cameras: readonly Camera[]): EpisodeRow {
  // Every column has been parsed by its schema, which the table's type cannot carry.
  const number = (name: string): number => row.get(name) as number;
  return {
    index: number('episode_index'),
    length: number('length'),
    tasks: row.get('tasks') as string[],
    data: { chunk: number('data/chunk_index'), file: number('data/file_index') },
    videos: new Map(
      cameras.map(({ feature }) => [
        feature,
        {
          chunk: number(`videos/${feature}/chunk_index`),
          file: number(`videos/${feature}/file_index`),
          from: number(`videos/${feature}/from_timestamp`),
          to: number(`videos/${feature}/to_timestamp`),
        },
      ]),
    ),
  };
}

/**
 * Texts of the tasks in the order of `task_index`. The text is the table's index column, which
 * LeRobot has called `task` and pandas `__index_level_0__`: it is the column of strings.
 */
export async function readTaskTable(source: BlobSource): Promise<string[]> {
  const rows = await readRows(source, TASKS_PATH, { task_index: whole }, 'others');
  const tasks = rows.map((row) => {
    const text = [...row.values()].find((value) => typeof value === 'string');
    if (typeof text !== 'string') {
      throw new ArmatureError('invalid_dataset', `${TASKS_PATH} has no column of texts`, {
        field: 'task',
        fix: `Write the text of each task into ${TASKS_PATH}.`,
      });
    }
    return { index: row.get('task_index') as number, text };
  });
  return tasks.sort((a, b) => a.index - b.index).map(({ text }) => text);
}
