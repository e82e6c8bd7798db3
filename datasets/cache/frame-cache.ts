import { createHash, randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ArmatureError } from '@armature/sdk/contract';
import type { Dataset, VideoInput } from '../dataset.ts';
import { decodeAll, type PreparedTask } from './decoder-pool.ts';
import { writePictures } from './picture-file.ts';

export interface FrameCacheOptions {
  /** Folder of all caches; each has a folder of its own in it. */
  readonly dir: string;
  readonly size: { readonly width: number; readonly height: number };
  /** Module that exports `preprocessImage(rgb, width, height, target)`; it runs in the threads. */
  readonly preprocessModule: URL;
  /** Names the pictures: identity of the data set's content and version of the pre-processing. */
  readonly key: string;
  /** Episodes wanted; all of the set when absent. */
  readonly episodes?: readonly number[];
  /** Cameras wanted; all of the set when absent. */
  readonly cameras?: readonly string[];
  /** Decoding threads; 2 when absent. */
  readonly workers?: number;
  /** Share that is done, 0 to 1. */
  onProgress?(fraction: number): void;
  readonly signal?: AbortSignal;
}

/** Files kept open for reading. */
const OPEN_FILES = 128;
/** A partial file this old belongs to no builder that still lives. */
const STALE_MS = 10 * 60_000;
/** Bytes of one read when a video is fetched. */
const FETCH_BYTES = 4 << 20;

/**
 * The pictures of a set at the model's size, decoded once: one file an episode and camera, u8
 * [frames, height, width, 3], in a folder named by the hash of key and size. A file appears when it
 * is complete, so an interrupted build goes on where it stopped and a second build finds all done.
 */
export class FrameCache {
  readonly size: { readonly width: number; readonly height: number };
  readonly #folder: string;
  readonly #frameBytes: number;
  readonly #open = new Map<string, number>();

  private constructor(folder: string, size: { width: number; height: number }) {
    this.#folder = folder;
    this.size = size;
    this.#frameBytes = size.width * size.height * 3;
  }

  /** @throws ArmatureError `invalid_dataset`, `not_found`, `cancelled`. */
  static async build(dataset: Dataset, options: FrameCacheOptions): Promise<FrameCache> {
    const { width, height } = options.size;
    const digest = createHash('sha256').update(`${options.key}\n${width}x${height}`).digest('hex');
    const folder = join(options.dir, digest);
    await mkdir(folder, { recursive: true });
    await removeStale(folder);

    const wanted = options.episodes === undefined ? null : new Set(options.episodes);
    const episodes = dataset.episodes.filter(({ index }) => wanted?.has(index) ?? true);
    const cameras = dataset.cameras.filter(({ name }) => options.cameras?.includes(name) ?? true);
    const total = episodes.reduce((sum, episode) => sum + episode.length, 0);
    const goal = Math.max(1, total * cameras.length);
    let done = 0;
    const advance = (frames: number): void => {
      done += frames;
      options.onProgress?.(Math.min(1, done / goal));
    };
    const tasks = [];
    for (const { index, length } of episodes) {
      for (const camera of cameras) {
        const output = join(folder, fileName(index, camera.name));
        if (await exists(output)) {
          advance(length);
          continue;
        }
        tasks.push(async () => {
          const video = await localVideo(await dataset.video(index, camera.name), folder);
          return { ...video, output, frames: length };
        });
      }
    }
    if (tasks.length > 0) {
      await decodeAll(tasks, {
        preprocessModule: options.preprocessModule.href,
        size: { width, height },
        threads: options.workers ?? 2,
        signal: options.signal ?? new AbortController().signal,
        onFrames: advance,
      });
    }
    options.onProgress?.(1);
    return new FrameCache(folder, { width, height });
  }

  /**
   * Frame `t` of an episode, u8 [height, width, 3].
   * @throws ArmatureError `not_found` when the cache has no such frame.
   */
  frame(episode: number, camera: string, t: number): Uint8Array {
    const bytes = new Uint8Array(this.#frameBytes);
    const file = this.#descriptor(episode, camera);
    const read = t < 0 ? 0 : readSync(file, bytes, 0, bytes.length, t * bytes.length);
    if (read !== bytes.length) {
      throw new ArmatureError('not_found', `episode ${episode} has no frame ${t} of ${camera}`, {
        field: camera,
      });
    }
    return bytes;
  }

  /** Closes the files; frames can be read again afterwards. */
  close(): void {
    for (const file of this.#open.values()) closeSync(file);
    this.#open.clear();
  }

  #descriptor(episode: number, camera: string): number {
    const name = fileName(episode, camera);
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const [oldest] = this.#open;
    if (oldest !== undefined && this.#open.size >= OPEN_FILES) {
      closeSync(oldest[1]);
      this.#open.delete(oldest[0]);
    }
    let file: number;
    try {
      file = openSync(join(this.#folder, name), 'r');
    } catch (cause) {
      throw new ArmatureError('not_found', `the cache has no episode ${episode} of ${camera}`, {
        field: camera,
        cause,
      });
    }
    this.#open.set(name, file);
    return file;
  }
}

const fileName = (episode: number, camera: string): string =>
  `${String(episode).padStart(6, '0')}-${encodeURIComponent(camera)}.rgb`;

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

async function removeStale(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.endsWith('.part')) continue;
    const path = join(folder, name);
    const age = Date.now() - (await stat(path)).mtimeMs;
    if (age > STALE_MS) await rm(path, { force: true });
  }
}

/** Threads decode local files; pictures that lie elsewhere are fetched and removed again. */
async function localVideo(
  input: VideoInput,
  folder: string,
): Promise<Pick<PreparedTask, 'video' | 'content' | 'clip' | 'name' | 'release'>> {
  const { name } = input;
  const clip = input.kind === 'pictures' || input.clip === undefined ? {} : { clip: input.clip };
  if (input.kind === 'file') return { video: input.path, content: 'video', name, ...clip };
  const path = join(folder, `${randomUUID()}.video.part`);
  const release = (): Promise<void> => rm(path, { force: true });
  try {
    if (input.kind === 'pictures') await writePictures(path, input);
    else await fetchVideo(path, input);
  } catch (error) {
    await release();
    throw error;
  }
  const content = input.kind === 'pictures' ? ('pictures' as const) : ('video' as const);
  return { video: path, content, name, ...clip, release };
}

async function fetchVideo(
  path: string,
  video: Extract<VideoInput, { kind: 'ranges' }>,
): Promise<void> {
  const file = await open(path, 'w');
  try {
    for (let start = 0; start < video.size; start += FETCH_BYTES) {
      const end = Math.min(start + FETCH_BYTES, video.size);
      await file.writeFile(await video.read({ start, end }));
    }
  } finally {
    await file.close();
  }
}
