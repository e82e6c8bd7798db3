import { createHash } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type BlobSource, fromDirectory } from '@armature/datasets';
import { ArmatureError, type DatasetFile } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';

/** Bytes of one read from the store. */
const READ_BYTES = 8 << 20;
/** Copies are removed, those first that were asked for longest ago, while they hold more than this … */
const SCRATCH_BYTES = 1 << 30;
/** … but for so many a lane, which it may be about to open: the rows of an episode and a picture of each camera. */
const KEPT_A_LANE = 8;

export interface VerifiedSource extends BlobSource {
  localPath(path: string): Promise<string>;
  /** Verifies the files that nobody asked for yet. @throws as `read` does, for the first bad one. */
  verifyRest(signal: AbortSignal): Promise<void>;
}

export interface Scratch {
  /** Folder for copies. */
  readonly scratch: string;
  /** Episodes that are looked at at a time. */
  readonly lanes: number;
  /** Of copies that nobody needs so many bytes are kept; 1 GiB when absent. */
  readonly keptBytes?: number;
}

/**
 * An uploaded data set whose every file is compared with the size and sha256 it was announced with
 * before a byte of it is used. A store on the local disk is read in place; files of another are
 * copied into `scratch` while they are hashed, so that they travel once.
 *
 * Reading throws ArmatureError `incomplete_upload` (not there, other size), `checksum_mismatch`.
 */
export function verifiedSource(
  store: ObjectStore,
  prefix: string,
  files: readonly DatasetFile[],
  { scratch, lanes, keptBytes = SCRATCH_BYTES }: Scratch,
): VerifiedSource {
  const announced = new Map(files.map((file) => [file.path, file]));
  const verified = new Map<string, Promise<string>>();
  /** Sizes of the copies, in the order in which they were last asked for. */
  const copies = new Map<string, number>();
  const done = new Set<string>();
  let held = 0;

  /** Path of a local file with the verified bytes. */
  const local = (path: string): Promise<string> => {
    const file = announced.get(path);
    if (file === undefined) return Promise.reject(notAnnounced(path));
    const known = verified.get(path);
    const size = copies.get(path);
    if (size !== undefined) {
      copies.delete(path);
      copies.set(path, size);
    }
    if (known !== undefined) return known;
    const pending = verify(file);
    verified.set(path, pending);
    return pending;
  };

  const verify = async (file: DatasetFile): Promise<string> => {
    const key = prefix + file.path;
    const head = await store.head(key);
    if (head?.size !== file.size) throw incomplete(file, head?.size ?? null);
    if (store.localPath !== undefined) {
      await hashInto(store, key, file, null);
      done.add(file.path);
      return await store.localPath(key);
    }
    const copy = join(scratch, file.path);
    await mkdir(dirname(copy), { recursive: true });
    try {
      await hashInto(store, key, file, copy);
    } catch (error) {
      await rm(copy, { force: true });
      throw error;
    }
    done.add(file.path);
    copies.set(file.path, file.size);
    held += file.size;
    await removeOld();
    return copy;
  };

  const removeOld = async (): Promise<void> => {
    for (const [path, size] of copies) {
      if (held <= keptBytes || copies.size <= KEPT_A_LANE * lanes) return;
      held -= size;
      copies.delete(path);
      verified.delete(path);
      await rm(join(scratch, path), { force: true });
    }
  };

  return {
    size: async (path) => announced.get(path)?.size ?? null,
    list: async () => [...announced.keys()].sort(),
    localPath: local,
    async read(path, range) {
      const file = await local(path);
      return await fromDirectory(dirname(file)).read(file.slice(dirname(file).length + 1), range);
    },
    async verifyRest(signal) {
      for (const path of announced.keys()) {
        signal.throwIfAborted();
        if (!verified.has(path) && !done.has(path)) await local(path);
      }
    },
  };
}

/** Hashes an object in pieces, writing them to `copy` as well where one is wanted. */
async function hashInto(
  store: ObjectStore,
  key: string,
  file: DatasetFile,
  copy: string | null,
): Promise<void> {
  const hash = createHash('sha256');
  const target = copy === null ? null : await open(copy, 'w');
  try {
    for (let start = 0; start < file.size; start += READ_BYTES) {
      const end = Math.min(start + READ_BYTES, file.size);
      const bytes = await store.get(key, { start, end });
      hash.update(bytes);
      await target?.writeFile(bytes);
    }
  } finally {
    await target?.close();
  }
  if (hash.digest('hex') === file.sha256) return;
  throw new ArmatureError('checksum_mismatch', `${file.path} is not the file that was announced`, {
    field: file.path,
    fix: `Upload ${file.path} again.`,
  });
}

function incomplete(file: DatasetFile, size: number | null): ArmatureError {
  const found = size === null ? 'is not there' : `has ${size} of ${file.size} bytes`;
  return new ArmatureError('incomplete_upload', `${file.path} ${found}`, {
    field: file.path,
    fix: `Upload ${file.path} again.`,
  });
}

function notAnnounced(path: string): ArmatureError {
  return new ArmatureError('not_found', `the data set has no file ${path}`, {
    field: path,
    fix: `Upload ${path} with the data set.`,
  });
}
