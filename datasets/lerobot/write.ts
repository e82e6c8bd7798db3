import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ArmatureError } from '@armature/sdk/contract';
import type { Label } from '../dataset.ts';
import { ENCODED, encodeVideo } from '../video/encode.ts';
import { type EpisodeStats, pictureStats, vectorStats } from './episode-stats.ts';
import { ACTION_FEATURE, INFO_PATH, STATE_FEATURE } from './info.ts';
import { EPISODES_PATH, LABELS_PATH, TASKS_PATH } from './lines.ts';
import { fillPath } from './path-template.ts';
import { episodeParquet } from './write-parquet.ts';

const CHUNK_SIZE = 1000;
const DATA_PATH = 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet';
const VIDEO_PATH = 'videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4';

export interface RecordedEpisode {
  /** Row-major f32 [frames · state dimension]. */
  readonly state: Float32Array;
  /** Row-major f32 [frames · action dimension]. */
  readonly action: Float32Array;
  readonly task: string;
  /** For each camera one picture a frame, u8 [height, width, 3]. */
  readonly frames: Readonly<Record<string, readonly Uint8Array[]>>;
  readonly labels?: readonly Label[];
}

export interface Recording {
  readonly robotType: string;
  readonly fps: number;
  readonly stateNames: readonly string[];
  readonly actionNames: readonly string[];
  readonly cameras: readonly {
    readonly name: string;
    readonly width: number;
    readonly height: number;
  }[];
  readonly episodes: AsyncIterable<RecordedEpisode> | Iterable<RecordedEpisode>;
}

/**
 * Writes a LeRobot v2.1 set; videos are lossless. Labels go to `meta/labels.jsonl`, which other
 * readers pass over. The folder appears when everything is in it.
 * @throws ArmatureError `conflict` when the folder exists, `invalid_dataset` for an episode whose
 * arrays do not fit each other.
 */
export async function writeLeRobot(
  directory: string,
  recording: Recording,
): Promise<{ episodes: number; frames: number }> {
  const target = resolve(directory);
  if (await stat(target).then(Boolean, () => false)) {
    throw new ArmatureError('conflict', `${directory} exists already`, {
      field: 'directory',
      fix: 'Choose a new folder or remove the old one.',
    });
  }
  const folder = `${target}.${process.pid}.part`;
  await rm(folder, { recursive: true, force: true });
  try {
    const written = await writeInto(folder, recording);
    await rename(folder, target);
    return written;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function writeInto(
  folder: string,
  recording: Recording,
): Promise<{ episodes: number; frames: number }> {
  const tasks = new Map<string, number>();
  const episodeLines: unknown[] = [];
  const statsLines: unknown[] = [];
  const labelLines: unknown[] = [];
  let total = 0;
  const put = async (path: string, content: string | Uint8Array): Promise<void> => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  };

  for await (const episode of recording.episodes) {
    const index = episodeLines.length;
    const length = checkedLength(recording, episode, index);
    const taskIndex = tasks.get(episode.task) ?? tasks.size;
    tasks.set(episode.task, taskIndex);
    const vectors = {
      [STATE_FEATURE]: { width: recording.stateNames.length, values: episode.state },
      [ACTION_FEATURE]: { width: recording.actionNames.length, values: episode.action },
    };
    const place = {
      episode_index: index,
      episode_chunk: Math.floor(index / CHUNK_SIZE),
    };
    const { fps } = recording;
    await put(
      fillPath(DATA_PATH, place),
      episodeParquet({ episodeIndex: index, taskIndex, firstIndex: total, fps, length, vectors }),
    );
    const stats: Record<string, EpisodeStats> = {};
    for (const [feature, { width, values }] of Object.entries(vectors)) {
      stats[feature] = vectorStats(values, width);
    }
    for (const { name, width, height } of recording.cameras) {
      const feature = cameraFeature(name);
      const path = join(folder, fillPath(VIDEO_PATH, { ...place, video_key: feature }));
      await mkdir(dirname(path), { recursive: true });
      const pictures = episode.frames[name] ?? [];
      await encodeVideo(path, pictures, { width, height, fps });
      stats[feature] = pictureStats(pictures);
    }
    episodeLines.push({ episode_index: index, tasks: [episode.task], length });
    statsLines.push({ episode_index: index, stats });
    if (episode.labels !== undefined && episode.labels.length > 0) {
      labelLines.push({ episode_index: index, labels: episode.labels });
    }
    total += length;
  }

  const taskLines = [...tasks].map(([task, task_index]) => ({ task_index, task }));
  await put(TASKS_PATH, lines(taskLines));
  await put(EPISODES_PATH, lines(episodeLines));
  await put('meta/episodes_stats.jsonl', lines(statsLines));
  if (labelLines.length > 0) await put(LABELS_PATH, lines(labelLines));
  const info = describe(recording, episodeLines.length, total, tasks.size);
  await put(INFO_PATH, `${JSON.stringify(info, null, 4)}\n`);
  return { episodes: episodeLines.length, frames: total };
}

const cameraFeature = (name: string): string => `observation.images.${name}`;

const lines = (items: readonly unknown[]): string =>
  items.map((item) => `${JSON.stringify(item)}\n`).join('');

function checkedLength(recording: Recording, episode: RecordedEpisode, index: number): number {
  const length = episode.state.length / recording.stateNames.length;
  const wrong = (field: string, message: string): ArmatureError =>
    new ArmatureError('invalid_dataset', `episode ${index}: ${message}`, {
      field,
      fix: 'Give state, action and every camera the same number of frames.',
    });
  if (!Number.isInteger(length) || length === 0) {
    throw wrong('state', `state has ${episode.state.length} values`);
  }
  if (episode.action.length !== length * recording.actionNames.length) {
    throw wrong('action', `action has ${episode.action.length} values for ${length} frames`);
  }
  for (const { name } of recording.cameras) {
    const pictures = episode.frames[name]?.length ?? 0;
    if (pictures !== length) {
      throw wrong(`frames.${name}`, `${name} has ${pictures} pictures for ${length} frames`);
    }
  }
  return length;
}

function describe(
  recording: Recording,
  episodes: number,
  frames: number,
  tasks: number,
): Record<string, unknown> {
  const { fps, cameras } = recording;
  const vector = (names: readonly string[]) => ({ dtype: 'float32', shape: [names.length], names });
  const scalar = (dtype: string) => ({ dtype, shape: [1], names: null });
  const features: Record<string, unknown> = {
    [STATE_FEATURE]: vector(recording.stateNames),
    [ACTION_FEATURE]: vector(recording.actionNames),
  };
  for (const { name, width, height } of cameras) {
    features[cameraFeature(name)] = {
      dtype: 'video',
      shape: [height, width, 3],
      names: ['height', 'width', 'channels'],
      info: {
        'video.height': height,
        'video.width': width,
        'video.codec': ENCODED.codec,
        'video.pix_fmt': ENCODED.pixelFormat,
        'video.is_depth_map': false,
        'video.fps': fps,
        'video.channels': 3,
        has_audio: false,
      },
    };
  }
  features['timestamp'] = scalar('float32');
  for (const name of ['frame_index', 'episode_index', 'index', 'task_index']) {
    features[name] = scalar('int64');
  }
  return {
    codebase_version: 'v2.1',
    robot_type: recording.robotType,
    total_episodes: episodes,
    total_frames: frames,
    total_tasks: tasks,
    total_videos: episodes * cameras.length,
    total_chunks: Math.ceil(episodes / CHUNK_SIZE),
    chunks_size: CHUNK_SIZE,
    fps,
    splits: { train: `0:${episodes}` },
    data_path: DATA_PATH,
    video_path: cameras.length === 0 ? null : VIDEO_PATH,
    features,
  };
}
