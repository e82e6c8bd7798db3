import { ArmatureError } from '@armature/sdk/contract';
import type {
  Camera,
  Dataset,
  DecodeOptions,
  Episode,
  EpisodeInfo,
  Label,
  OnFrame,
  VideoClip,
  VideoInput,
} from '../dataset.ts';
import { findCamera } from '../find-camera.ts';
import type { BlobSource } from '../source/blob-source.ts';
import { missingFile } from '../source/directory.ts';
import { decodeRgb } from '../video/decode-rgb.ts';
import { type Column, readColumns, type RowRange } from './columns.ts';
import {
  ACTION_FEATURE,
  camerasOf,
  dimensionNames,
  type Info,
  INFO_PATH,
  pictureFeatures,
  STATE_FEATURE,
} from './info.ts';
import { pictureColumn } from './picture-column.ts';

/** Where a version of LeRobot keeps what belongs to an episode. */
export interface Layout {
  readonly format: string;
  readonly tasks: readonly string[];
  readonly episodes: readonly EpisodeInfo[];
  /** Sentences by episode. */
  readonly labels: ReadonlyMap<number, readonly Label[]>;
  /** File that lists the episodes, for errors. */
  readonly episodesPath: string;
  /** The parquet file of an episode's rows, and which rows of it; all when `rows` is absent. */
  rows(index: number): Promise<{ path: string; rows?: RowRange }>;
  /** The mp4 file of an episode's pictures, and which part of it; all when `clip` is absent. */
  video(index: number, camera: Camera): { path: string; clip?: VideoClip };
}

/** A LeRobot set of any version. */
export class LeRobotDataset implements Dataset {
  readonly format: string;
  readonly robotType: string;
  readonly fps: number;
  readonly stateNames: readonly string[];
  readonly actionNames: readonly string[];
  readonly cameras: readonly Camera[];
  readonly tasks: readonly string[];
  readonly episodes: readonly EpisodeInfo[];
  readonly #source: BlobSource;
  readonly #layout: Layout;
  readonly #inTable: ReadonlySet<string>;
  readonly #byIndex: ReadonlyMap<number, EpisodeInfo>;

  /** @throws ArmatureError `invalid_dataset` when state or action are not described. */
  constructor(source: BlobSource, info: Info, layout: Layout) {
    this.format = layout.format;
    this.robotType = info.robot_type ?? 'unspecified';
    this.fps = info.fps;
    this.stateNames = namesOf(info, STATE_FEATURE);
    this.actionNames = namesOf(info, ACTION_FEATURE);
    this.cameras = camerasOf(info);
    this.tasks = layout.tasks;
    this.episodes = layout.episodes;
    this.#source = source;
    this.#layout = layout;
    this.#inTable = pictureFeatures(info);
    this.#byIndex = new Map(layout.episodes.map((episode) => [episode.index, episode]));
  }

  async readEpisode(index: number): Promise<Episode> {
    const { task } = this.#episode(index);
    const { path, rows } = await this.#layout.rows(index);
    const wanted = [STATE_FEATURE, ACTION_FEATURE, 'timestamp'];
    const columns = await readColumns(this.#source, path, wanted, rows);
    const timestamps = vectors(path, columns, 'timestamp', 1);
    return {
      index,
      length: timestamps.length,
      instruction: task,
      state: vectors(path, columns, STATE_FEATURE, this.stateNames.length),
      action: vectors(path, columns, ACTION_FEATURE, this.actionNames.length),
      timestamps,
      labels: this.#layout.labels.get(index) ?? [],
    };
  }

  async decodeFrames(
    index: number,
    camera: string,
    onFrame: OnFrame,
    options: DecodeOptions = {},
  ): Promise<number> {
    return await decodeRgb(await this.video(index, camera), onFrame, options);
  }

  async video(index: number, camera: string): Promise<VideoInput> {
    this.#episode(index);
    const found = findCamera(this.cameras, camera);
    if (this.#inTable.has(found.feature)) {
      const { path, rows } = await this.#layout.rows(index);
      return pictureColumn(this.#source, path, found, this.fps, rows);
    }
    const { path, clip } = this.#layout.video(index, found);
    const size = await this.#source.size(path);
    if (size === null) throw missingFile(path);
    const part = clip === undefined ? {} : { clip };
    if (this.#source.localPath !== undefined) {
      return { kind: 'file', name: path, path: await this.#source.localPath(path), ...part };
    }
    const read = (range: { start: number; end: number }) => this.#source.read(path, range);
    return { kind: 'ranges', name: path, size, read, ...part };
  }

  /** Files are read where they lie: there is nothing to give back. */
  async close(): Promise<void> {
    await Promise.resolve();
  }

  #episode(index: number): EpisodeInfo {
    const episode = this.#byIndex.get(index);
    if (episode === undefined) {
      throw new ArmatureError('not_found', `the data set has no episode ${index}`, {
        field: 'episode',
        fix: `Use an episode index that ${this.#layout.episodesPath} lists.`,
      });
    }
    return episode;
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
