import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobSource } from './blob-source.ts';
import { missingFile } from './directory.ts';

/** Bytes of one read when a file is fetched. */
const FETCH_BYTES = 4 << 20;

/**
 * Local files for readers that need one: the source's own where it has them, else copies that are
 * fetched in pieces when they are first asked for and removed with `close`.
 */
export class LocalCopies {
  readonly #source: BlobSource;
  readonly #copies = new Map<string, Promise<string>>();
  #folder: Promise<string> | undefined;

  constructor(source: BlobSource) {
    this.#source = source;
  }

  /** @throws ArmatureError `not_found` when there is no such file. */
  async path(path: string): Promise<string> {
    if (this.#source.localPath !== undefined) {
      if ((await this.#source.size(path)) === null) throw missingFile(path);
      return await this.#source.localPath(path);
    }
    const known = this.#copies.get(path) ?? this.#fetch(path, this.#copies.size);
    this.#copies.set(path, known);
    known.catch(() => this.#copies.delete(path));
    return await known;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#copies.values());
    this.#copies.clear();
    if (this.#folder !== undefined) await rm(await this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  async #fetch(path: string, number: number): Promise<string> {
    const size = await this.#source.size(path);
    if (size === null) throw missingFile(path);
    this.#folder ??= mkdtemp(join(tmpdir(), 'armature-copies-'));
    const copy = join(await this.#folder, String(number));
    const file = await open(copy, 'w');
    try {
      for (let start = 0; start < size; start += FETCH_BYTES) {
        const end = Math.min(start + FETCH_BYTES, size);
        await file.writeFile(await this.#source.read(path, { start, end }));
      }
      return copy;
    } finally {
      await file.close();
    }
  }
}
