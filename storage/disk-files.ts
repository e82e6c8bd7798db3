import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ArmatureError } from '@armature/sdk/contract';

/** Size of a file and what tells it from every other file that had its path. */
export interface FileIdentity {
  size: number;
  ino: string;
  mtimeNs: string;
}

/** A delete may prune the folder between its making and the rename, hence the second attempt. */
export async function renameInto(from: string, to: string, key: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await mkdir(dirname(to), { recursive: true });
      await rename(from, to);
      return;
    } catch (error) {
      if (errno(error) === 'ENOENT' && attempt < 5) continue;
      if (['EISDIR', 'ENOTDIR', 'EEXIST', 'ENOTEMPTY'].includes(errno(error))) {
        throw new ArmatureError('conflict', `${key} lies below or above another key`, {
          field: 'key',
          fix: 'Use a key that is no folder of another.',
          cause: error,
        });
      }
      throw error;
    }
  }
}

/** Null where no plain file is. */
export async function statFile(path: string): Promise<FileIdentity | null> {
  try {
    const info = await stat(path, { bigint: true });
    if (!info.isFile()) return null;
    return { size: Number(info.size), ino: String(info.ino), mtimeNs: String(info.mtimeNs) };
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest('hex');
}

export async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!isAbsent(error) && !['EISDIR', 'EPERM'].includes(errno(error))) throw error;
  });
}

/** Removes the files of a folder that were last written to before a time, ms. */
export async function removeOlder(folder: string, beforeMs: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const info = await statFile(path);
    if (info !== null && Number(BigInt(info.mtimeNs) / 1_000_000n) < beforeMs) {
      await unlinkIfThere(path);
    }
  }
}

export async function pruneEmpty(folder: string, root: string): Promise<void> {
  for (let current = folder; current.startsWith(`${root}/`); current = dirname(current)) {
    try {
      await rmdir(current);
    } catch (error) {
      if (['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(errno(error))) return;
      if (errno(error) !== 'ENOENT') throw error;
    }
  }
}

/** A folder that is gone was pruned by a delete of what lay in it: nothing is left to sync. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path).catch((error: unknown) => {
    if (isAbsent(error)) return null;
    throw error;
  });
  if (folder === null) return;
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

export function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(errno(error));
}

function errno(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
