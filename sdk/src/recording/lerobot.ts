import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ArmatureError } from '../../contract/index.ts';
import type { EmbodimentShape } from '../robot/embodiment.ts';
import { episodeTable, type PictureFile } from './lerobot-table.ts';
import { encodePng } from './png.ts';
import { reasoningSpans } from './reasonings.ts';
import type { RecordedStep, SessionRecorder } from './recorder.ts';

const DATA_PATH = 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet';
const EPISODE = 'data/chunk-000/episode_000000.parquet';

export interface LeRobotOptions {
  /** Frames a second; the embodiment's control rate unless told. */
  readonly fps?: number;
}

/**
 * A recording as a LeRobot v2.1 set of one episode, by path: pictures lie in the table as files (JPEG
 * as they came, pixels as PNG), reasonings in `meta/labels.jsonl`, which other readers pass over.
 * @throws ArmatureError `invalid_dataset` for a recording without a step, or one that lacks a picture.
 */
export function lerobotEpisode<S extends EmbodimentShape>(
  recorder: SessionRecorder<S>,
  options: LeRobotOptions = {},
): Map<string, Uint8Array | string> {
  const { steps, embodiment } = recorder;
  if (steps.length === 0) {
    throw new ArmatureError('invalid_dataset', 'the recording holds no executed action', {
      field: 'record',
      fix: 'Export a recording that a control loop has written.',
    });
  }
  const fps = options.fps ?? embodiment.control_hz;
  const tasks = [...new Set(steps.map(({ instruction }) => instruction))];
  const vectors = {
    'observation.state': steps.map(({ state }) => state),
    action: steps.map(({ action }) => action),
  };
  const pictures = Object.fromEntries(
    embodiment.cameras.map((camera) => [
      `observation.images.${camera.name}`,
      steps.map((step, i) => pictureFile(step, i, camera)),
    ]),
  );
  const taskOf = steps.map(({ instruction }) => tasks.indexOf(instruction));
  const stats = Object.fromEntries(
    Object.entries(vectors).map(([name, rows]) => [name, statsOf(rows)]),
  );
  const labels = reasoningSpans(steps).map(({ from, to, text, id }) => ({
    from,
    to,
    text,
    source: `policy:${id}`,
  }));
  const episode = { episode_index: 0, tasks, length: steps.length };
  return new Map<string, Uint8Array | string>([
    [EPISODE, episodeTable({ fps, vectors, pictures, tasks: taskOf })],
    [
      'meta/info.json',
      `${JSON.stringify(info(embodiment, steps.length, tasks.length, fps), null, 4)}\n`,
    ],
    ['meta/tasks.jsonl', lines(tasks.map((task, task_index) => ({ task_index, task })))],
    ['meta/episodes.jsonl', lines([episode])],
    ['meta/episodes_stats.jsonl', lines([{ episode_index: 0, stats }])],
    ['meta/labels.jsonl', lines([{ episode_index: 0, labels }])],
  ]);
}

/**
 * Writes `lerobotEpisode` to a folder that must not be there yet; it appears when all is in it.
 * @throws ArmatureError `invalid_dataset`; the file system's error, `ENOTEMPTY` for a folder in use.
 */
export async function exportLeRobot<S extends EmbodimentShape>(
  recorder: SessionRecorder<S>,
  directory: string,
  options: LeRobotOptions = {},
): Promise<void> {
  const files = lerobotEpisode(recorder, options);
  const target = resolve(directory);
  const part = `${target}.${process.pid}.part`;
  try {
    for (const [path, content] of files) {
      await mkdir(dirname(join(part, path)), { recursive: true });
      await writeFile(join(part, path), content);
    }
    await rename(part, target);
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw error;
  }
}

function pictureFile(
  step: RecordedStep,
  index: number,
  { name, width, height }: EmbodimentShape['cameras'][number],
): PictureFile {
  const picture = step.pictures[name];
  if (picture === undefined) {
    throw new ArmatureError('invalid_dataset', `step ${index} has no picture of ${name}`, {
      field: `pictures.${name}`,
      fix: 'Record observations with a picture of every camera.',
    });
  }
  const frame = `frame_${String(index).padStart(6, '0')}`;
  return 'jpeg' in picture
    ? { bytes: picture.jpeg, path: `${frame}.jpg` }
    : { bytes: encodePng(picture.pixels, width, height), path: `${frame}.png` };
}

function info(embodiment: EmbodimentShape, frames: number, tasks: number, fps: number): object {
  const vector = (joints: EmbodimentShape['state']) => ({
    dtype: 'float32',
    shape: [joints.length],
    names: joints.map(({ name }) => name),
  });
  const scalar = (dtype: string) => ({ dtype, shape: [1], names: null });
  return {
    codebase_version: 'v2.1',
    robot_type: embodiment.name,
    total_episodes: 1,
    total_frames: frames,
    total_tasks: tasks,
    total_videos: 0,
    total_chunks: 1,
    chunks_size: 1000,
    fps,
    splits: { train: '0:1' },
    data_path: DATA_PATH,
    video_path: null,
    features: {
      'observation.state': vector(embodiment.state),
      action: vector(embodiment.action),
      ...Object.fromEntries(
        embodiment.cameras.map(({ name, width, height }) => [
          `observation.images.${name}`,
          { dtype: 'image', shape: [height, width, 3], names: ['height', 'width', 'channels'] },
        ]),
      ),
      timestamp: scalar('float32'),
      frame_index: scalar('int64'),
      episode_index: scalar('int64'),
      index: scalar('int64'),
      task_index: scalar('int64'),
    },
  };
}

/** Least, greatest, mean and standard deviation of each dimension, as `episodes_stats.jsonl` has it. */
function statsOf(rows: readonly Float32Array[]): object {
  const width = rows[0]?.length ?? 0;
  const columns = Array.from({ length: width }, (_, d) => rows.map((row) => row[d] ?? NaN));
  const mean = columns.map((values) => values.reduce((sum, v) => sum + v, 0) / values.length);
  return {
    min: columns.map((values) => values.reduce((a, b) => Math.min(a, b), Infinity)),
    max: columns.map((values) => values.reduce((a, b) => Math.max(a, b), -Infinity)),
    mean,
    std: columns.map((values, d) =>
      Math.sqrt(values.reduce((sum, v) => sum + (v - (mean[d] ?? NaN)) ** 2, 0) / values.length),
    ),
    count: [rows.length],
  };
}

function lines(items: readonly object[]): string {
  return items.map((item) => `${JSON.stringify(item)}\n`).join('');
}
