import { ArmatureError } from '@armature/sdk/contract';
import type {
  Camera,
  Dataset,
  DecodeOptions,
  Episode,
  EpisodeInfo,
  Label,
  OnFrame,
  VideoInput,
} from '../dataset.ts';
import type { BlobSource } from '../source/blob-source.ts';
import { decodeVideo } from '../video/decode.ts';
import { RgbConverter } from '../video/rgb.ts';
import type { Column } from './columns.ts';
import { readColumns } from './columns.ts';
import type { Info } from './info.ts';
import { INFO_PATH, camerasOf, dimensionNames } from './info.ts';
import {
  EPISODES_PATH,
  LABELS_PATH,
  TASKS_PATH,
  episodeLineSchema,
  labelLineSchema,
  readLines,
  taskLineSchema,
} from './lines.ts';
import { fillPath } from './path-template.ts';

export const STATE_FEATURE = 'observation.state';
export const ACTION_FEATURE = 'action';

/**
 * Opens a LeRobot v2.1 set: one parquet file an episode, one mp4 file an episode and camera.
 * @throws ArmatureError `invalid_dataset` naming the file and field that is missing or wrong.
 */
export async function openLeRobotV21(source: BlobSource, info: Info): Promise<Dataset> {
  const tasks = await readLines(source, TASKS_PATH, taskLineSchema);
  const episodes = await readLines(source, EPISODES_PATH, episodeLineSchema);
  const labels = new Map<number, readonly Label[]>();
  if ((await source.size(LABELS_PATH)) !== null) {
    for (const line of await readLines(source, LABELS_PATH, labelLineSchema)) {
      labels.set(line.episode_index, line.labels);
    }
  }
  const taskTexts = tasks.sort((a, b) => a.task_index - b.task_index).map((task) => task.task);
  return new LeRobotV21(
    source,
    info,
    taskTexts,
    episodes.map((line) => ({
      index: line.episode_index,
      length: line.length,
      task: line.tasks[0] ?? '',
    })),
    labels,
  );
}

class LeRobotV21 implements Dataset {
  readonly format = 'lerobot-v2.1';
  readonly robotType: string;
  readonly fps: number;
  readonly stateNames: readonly string[];
  readonly actionNames: readonly string[];
  readonly cameras: readonly Camera[];
  readonly tasks: readonly string[];
  readonly episodes: readonly EpisodeInfo[];
  readonly #source: BlobSource;
  readonly #info: Info;
  readonly #labels: ReadonlyMap<number, readonly Label[]>;
  readonly #byIndex: ReadonlyMap<number, EpisodeInfo>;

  constructor(
    source: BlobSource,
    info: Info,
    tasks: readonly string[],
    episodes: readonly EpisodeInfo[],
    labels: ReadonlyMap<number, readonly Label[]>,
  ) {
    this.robotType = info.robot_type ?? 'unspecified';
    this.fps = info.fps;
    this.stateNames = namesOf(info, STATE_FEATURE);
    this.actionNames = namesOf(info, ACTION_FEATURE);
    this.cameras = camerasOf(info);
    this.tasks = tasks;
    this.episodes = episodes;
    this.#source = source;
    this.#info = info;
    this.#labels = labels;
    this.#byIndex = new Map(episodes.map((episode) => [episode.index, episode]));
  }

  async readEpisode(index: number): Promise<Episode> {
    const { task } = this.#episode(index);
    const path = this.#dataPath(index);
    const columns = await readColumns(this.#source, path, [
      STATE_FEATURE,
      ACTION_FEATURE,
      'timestamp',
    ]);
    const state = vectors(path, columns, STATE_FEATURE, this.stateNames.length);
    const action = vectors(path, columns, ACTION_FEATURE, this.actionNames.length);
    const timestamps = vectors(path, columns, 'timestamp', 1);
    return {
      index,
      length: timestamps.length,
      instruction: task,
      state,
      action,
      timestamps,
      labels: this.#labels.get(index) ?? [],
    };
  }

  async decodeFrames(
    index: number,
    camera: string,
    onFrame: OnFrame,
    options: DecodeOptions = {},
  ): Promise<number> {
    const converter = new RgbConverter();
    try {
      return await decodeVideo(await this.video(index, camera), {
        ...options,
        onFrame: async (picture) => {
          const rgb = await converter.convert(picture.frame);
          await onFrame(picture.index, rgb.slice(), picture.frame.width, picture.frame.height);
        },
      });
    } finally {
      converter.close();
    }
  }

  async video(index: number, camera: string): Promise<VideoInput> {
    this.#episode(index);
    const found = this.cameras.find((candidate) => candidate.name === camera);
    if (found === undefined) {
      throw new ArmatureError('not_found', `the data set has no camera ${camera}`, {
        field: camera,
        fix: `Use one of: ${this.cameras.map((candidate) => candidate.name).join(', ')}.`,
      });
    }
    const path = this.#videoPath(index, found);
    const size = await this.#source.size(path);
    if (size === null) {
      throw new ArmatureError('not_found', `the data set has no file ${path}`, {
        field: path,
        fix: `Upload ${path}.`,
      });
    }
    if (this.#source.localPath !== undefined) {
      return { kind: 'file', name: path, path: await this.#source.localPath(path) };
    }
    return { kind: 'ranges', name: path, size, read: (range) => this.#source.read(path, range) };
  }

  #episode(index: number): EpisodeInfo {
    const episode = this.#byIndex.get(index);
    if (episode === undefined) {
      throw new ArmatureError('not_found', `the data set has no episode ${index}`, {
        field: 'episode',
        fix: `Use an episode index that ${EPISODES_PATH} lists.`,
      });
    }
    return episode;
  }

  #dataPath(index: number): string {
    return this.#fill('data_path', this.#info.data_path, index, {});
  }

  #videoPath(index: number, camera: Camera): string {
    if (typeof this.#info.video_path !== 'string') {
      throw new ArmatureError('invalid_dataset', `${INFO_PATH} has videos but no video_path`, {
        field: 'video_path',
        fix: `Set video_path in ${INFO_PATH}.`,
      });
    }
    return this.#fill('video_path', this.#info.video_path, index, { video_key: camera.feature });
  }

  #fill(field: string, template: string, index: number, more: Record<string, string>): string {
    try {
      return fillPath(template, {
        episode_index: index,
        episode_chunk: Math.floor(index / this.#info.chunks_size),
        ...more,
      });
    } catch (cause) {
      throw new ArmatureError('invalid_dataset', `${field} of ${INFO_PATH}: ${template}`, {
        field,
        fix: `Use only episode_chunk, episode_index and video_key in ${field}.`,
        cause,
      });
    }
  }
}

function namesOf(info: Info, key: string): string[] {
  const feature = info.features[key];
  if (feature === undefined) {
    throw new ArmatureError('invalid_dataset', `${INFO_PATH} has no feature ${key}`, {
      field: `features.${key}`,
      fix: `Record ${key} as a float32 vector in every frame.`,
    });
  }
  return dimensionNames(key, feature);
}

function vectors(
  path: string,
  columns: ReadonlyMap<string, Column>,
  name: string,
  width: number,
): Float32Array {
  const column = columns.get(name);
  if (column === undefined) {
    throw new ArmatureError('invalid_dataset', `${path} has no column ${name}`, {
      field: name,
      fix: `Write ${name} into ${path}.`,
    });
  }
  if (column.rows > 0 && column.width !== width) {
    throw new ArmatureError(
      'invalid_dataset',
      `${path}: ${name} has ${column.width} values a row, ${INFO_PATH} names ${width}`,
      { field: name, fix: `Make ${INFO_PATH} and ${path} agree on the dimensions of ${name}.` },
    );
  }
  return Float32Array.from(column.values);
}
