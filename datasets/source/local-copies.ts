import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlobSource } from './blob-source.ts';
import { missingFile } from './directory.ts';

/** Bytes of one read when a file is fetched. */
const FETCH_BYTES = 4 << 20;
/** Copies are removed, those first that were asked for longest ago, while they hold more than this … */
const KEPT_BYTES = 8 * 2 ** 30;
/** … but for so many, which a reader may be about to open. */
const KEPT_FILES = 4;

interface Copy {
  readonly local: Promise<string>;
  /** 0 until it is there. */
  bytes: number;
}

/**
 * Local files for readers that need one: the source's own where it has them, else copies that are
 * fetched in pieces when they are asked for and removed with `close`, or before where there are too many. A
 * reader opens what it is told of at once: a file that is open is not lost to it.
 */
export class LocalCopies {
  readonly #source: BlobSource;
  readonly #keptBytes: number;
  /** In the order in which they were last asked for. */
  readonly #copies = new Map<string, Copy>();
  #folder: Promise<string> | undefined;
  #fetched = 0;

  /** @param keptBytes of copies that are kept */
  constructor(source: BlobSource, keptBytes = KEPT_BYTES) {
    this.#source = source;
    this.#keptBytes = keptBytes;
  }

  /** @throws ArmatureError `not_found` when there is no such file. */
  async path(path: string): Promise<string> {
    if (this.#source.localPath !== undefined) {
      if ((await this.#source.size(path)) === null) throw missingFile(path);
      return await this.#source.localPath(path);
    }
    const copy = this.#copies.get(path) ?? this.#begin(path);
    this.#copies.delete(path);
    this.#copies.set(path, copy);
    const local = await copy.local;
    await this.#removeOld();
    return local;
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#copies.values()].map(({ local }) => local));
    this.#copies.clear();
    if (this.#folder !== undefined) await rm(await this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  #begin(path: string): Copy {
    const fetched = this.#fetch(path);
    const copy: Copy = { bytes: 0, local: fetched.then(({ local }) => local) };
    fetched.then(
      ({ bytes }) => (copy.bytes = bytes),
      () => this.#copies.delete(path),
    );
    return copy;
  }

  async #removeOld(): Promise<void> {
    let held = [...this.#copies.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    for (const [path, copy] of this.#copies) {
      if (held <= this.#keptBytes || this.#copies.size <= KEPT_FILES) return;
      if (copy.bytes === 0) continue;
      held -= copy.bytes;
      this.#copies.delete(path);
      await rm(await copy.local, { force: true });
    }
  }

  async #fetch(path: string): Promise<{ local: string; bytes: number }> {
    const size = await this.#source.size(path);
    if (size === null) throw missingFile(path);
    this.#folder ??= mkdtemp(join(tmpdir(), 'armature-copies-'));
    const local = join(await this.#folder, String((this.#fetched += 1)));
    const file = await open(local, 'w');
    try {
      for (let start = 0; start < size; start += FETCH_BYTES) {
        const end = Math.min(start + FETCH_BYTES, size);
        await file.writeFile(await this.#source.read(path, { start, end }));
      }
      return { local, bytes: size };
    } finally {
      await file.close();
    }
  }
}
