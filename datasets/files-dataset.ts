import { ArmatureError } from '@armature/sdk/contract';
import type {
  Camera,
  Dataset,
  DecodeOptions,
  Episode,
  EpisodeInfo,
  OnFrame,
  VideoInput,
} from './dataset.ts';
import { findCamera } from './find-camera.ts';
import { decodeRgb } from './video/decode-rgb.ts';

/** One recording that is one episode of a set. */
export interface EpisodeFile {
  readonly path: string;
  readonly length: number;
  readonly task: string;
  read(): Promise<Pick<Episode, 'state' | 'action' | 'timestamps'>>;
  pictures(camera: Camera): VideoInput;
}

/** A set whose episodes are files of their own, numbered in the order of their names. */
export class FilesDataset implements Dataset {
  readonly format: string;
  readonly robotType: string;
  readonly fps: number;
  readonly stateNames: readonly string[];
  readonly actionNames: readonly string[];
  readonly cameras: readonly Camera[];
  readonly tasks: readonly string[];
  readonly episodes: readonly EpisodeInfo[];
  readonly #files: readonly EpisodeFile[];
  readonly #close: () => Promise<void>;

  constructor(
    description: Pick<
      Dataset,
      'format' | 'robotType' | 'fps' | 'stateNames' | 'actionNames' | 'cameras'
    >,
    files: readonly EpisodeFile[],
    close: () => Promise<void>,
  ) {
    this.format = description.format;
    this.robotType = description.robotType;
    this.fps = description.fps;
    this.stateNames = description.stateNames;
    this.actionNames = description.actionNames;
    this.cameras = description.cameras;
    this.tasks = [...new Set(files.map(({ task }) => task))];
    this.episodes = files.map(({ length, task }, index) => ({ index, length, task }));
    this.#files = files;
    this.#close = close;
  }

  async readEpisode(index: number): Promise<Episode> {
    const file = this.#file(index);
    const { state, action, timestamps } = await file.read();
    const { length, task: instruction } = file;
    return { index, length, instruction, state, action, timestamps, labels: [] };
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
    const file = this.#file(index);
    return file.pictures(findCamera(this.cameras, camera));
  }

  async close(): Promise<void> {
    await this.#close();
  }

  #file(index: number): EpisodeFile {
    const file = this.#files[index];
    if (file !== undefined) return file;
    throw new ArmatureError('not_found', `the data set has no episode ${index}`, {
      field: 'episode',
      fix: `Use an episode from 0 to ${this.#files.length - 1}.`,
    });
  }
}
