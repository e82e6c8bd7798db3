import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EpisodePicture, EpisodeSummary } from '@armature/datasets';
import { EPISODES_A_PAGE, episodesFile, type StoredEpisodes } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';

/** Episodes that have pictures; a larger set has those of its first ones. */
const PICTURED = 500;
/** What a file may be called and come to. */
const NAME = /^(?:episodes-\d{1,6}\.json|\d{1,9}-\d{1,2}-\d{1,9}\.jpg)$/;
const MAX_BYTES = 4 << 20;

/** Writes what the report has no room for into a folder: pages of episodes, and their pictures. */
export class DerivedWriter {
  readonly #folder: string;
  readonly #episodes: EpisodeSummary[] = [];
  readonly #pictures = new Map<number, StoredEpisodes[number]['pictures']>();
  readonly #cameras: string[] = [];

  constructor(folder: string) {
    this.#folder = folder;
  }

  episode(summary: EpisodeSummary): void {
    this.#episodes.push(summary);
  }

  async picture({ episode, camera, frame, jpeg }: EpisodePicture): Promise<void> {
    if (!this.#cameras.includes(camera)) this.#cameras.push(camera);
    const known = this.#pictures.get(episode) ?? [];
    if (!this.#pictures.has(episode) && this.#pictures.size === PICTURED) return;
    this.#pictures.set(episode, known);
    const file = `${episode}-${this.#cameras.indexOf(camera)}-${frame}.jpg`;
    await mkdir(this.#folder, { recursive: true });
    await writeFile(join(this.#folder, file), jpeg.bytes);
    known.push({ camera, frame, width: jpeg.width, height: jpeg.height, file });
  }

  /** Writes the pages, episodes by number. */
  async finish(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const sorted = this.#episodes.sort((a, b) => a.episode - b.episode);
    for (let page = 0; page * EPISODES_A_PAGE < sorted.length; page += 1) {
      const start = page * EPISODES_A_PAGE;
      const stored: StoredEpisodes = sorted
        .slice(start, start + EPISODES_A_PAGE)
        .map((summary) => ({ ...summary, pictures: this.#picturesOf(summary.episode) }));
      await writeFile(join(this.#folder, episodesFile(page)), JSON.stringify(stored));
    }
  }

  #picturesOf(episode: number): StoredEpisodes[number]['pictures'] {
    const place = (camera: string): number => this.#cameras.indexOf(camera);
    return (this.#pictures.get(episode) ?? []).sort(
      (a, b) => place(a.camera) - place(b.camera) || a.frame - b.frame,
    );
  }
}

/**
 * Stores what the checker has written under `prefix`, in place of what an earlier validation left there.
 * @throws Error for a file that it would not write: the folder is another process's.
 */
export async function storeDerived(
  store: ObjectStore,
  prefix: string,
  folder: string,
  assertHeld: () => void,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const names = await readdir(folder);
  assertHeld();
  await store.deletePrefix(prefix);
  for (const name of names) {
    const path = join(folder, name);
    const { size } = await stat(path);
    if (!NAME.test(name) || size > MAX_BYTES) {
      throw new Error(`the checker left ${name} of ${size} bytes`);
    }
    assertHeld();
    const contentType = name.endsWith('.jpg') ? 'image/jpeg' : 'application/json';
    await store.put(prefix + name, await readFile(path), { contentType });
  }
}
