import { open, readdir, stat } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { ArmatureError } from '@armature/sdk/contract';
import type { BlobSource, ByteRange } from './blob-source.ts';

/** A data set that lies in a folder of the local file system. Symbolic links are followed. */
export function fromDirectory(directory: string): BlobSource {
  const root = resolve(directory);
  const locate = (path: string): string => {
    const full = resolve(root, path);
    if (!full.startsWith(root + sep)) {
      throw new ArmatureError('invalid_dataset', `${path} lies outside the data set`, {
        field: path,
        fix: 'Use paths inside the data set, without "..".',
      });
    }
    return full;
  };
  return {
    async size(path) {
      const info = await unlessMissing(stat(locate(path)));
      return info?.isFile() === true ? info.size : null;
    },
    async read(path, range) {
      const handle = await unlessMissing(open(locate(path), 'r'));
      if (handle === null) throw missingFile(path);
      try {
        if (range === undefined) return await handle.readFile();
        return await readRange(handle, range);
      } finally {
        await handle.close();
      }
    },
    async list() {
      const entries = await readdir(root, { recursive: true, withFileTypes: true });
      const paths: string[] = [];
      for (const entry of entries) {
        const full = join(entry.parentPath, entry.name);
        const isFile = entry.isSymbolicLink() ? (await stat(full)).isFile() : entry.isFile();
        if (isFile) paths.push(relative(root, full).split(sep).join('/'));
      }
      return paths.sort();
    },
    localPath: (path) => Promise.resolve(locate(path)),
  };
}

async function readRange(
  handle: Awaited<ReturnType<typeof open>>,
  range: ByteRange,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, range.end - range.start));
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, range.start + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

/** The `not_found` that every source throws for a file that is not there. */
export function missingFile(path: string): ArmatureError {
  return new ArmatureError('not_found', `the data set has no file ${path}`, {
    field: path,
    fix: `Upload ${path}.`,
  });
}

async function unlessMissing<T>(pending: Promise<T>): Promise<T | null> {
  try {
    return await pending;
  } catch (error) {
    if (error instanceof Error && 'code' in error && isMissing(error.code)) return null;
    throw error;
  }
}

const isMissing = (code: unknown): boolean => code === 'ENOENT' || code === 'ENOTDIR';
