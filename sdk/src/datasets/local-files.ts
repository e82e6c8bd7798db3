import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ArmatureError,
  datasetFileSchema,
  type DatasetFile,
  MAX_FILE_BYTES,
} from '../../contract/index.ts';
import { throwIfCancelled } from '../backoff.ts';

/** A file of a data set: its path inside the set, and where it lies here. */
export interface LocalFile {
  readonly path: string;
  readonly source: string;
  readonly size: number;
}

export interface HashedFile extends LocalFile {
  readonly sha256: string;
}

/**
 * The files of a folder, sorted by path. Names that begin with a dot are left out; links are followed.
 * @throws ArmatureError `not_found` for a folder that is not there, `empty_dataset` for one without
 *   files, `invalid_dataset` naming a file that cannot travel.
 */
export async function listFiles(dir: string): Promise<LocalFile[]> {
  const files: LocalFile[] = [];
  await walk(dir, '', files, new Set());
  if (files.length === 0) {
    throw new ArmatureError('empty_dataset', `${dir} holds no files`, {
      field: 'dir',
      fix: 'Give the folder of a recorded data set, the one that holds meta/info.json.',
    });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function walk(
  dir: string,
  prefix: string,
  files: LocalFile[],
  above: ReadonlySet<string>,
): Promise<void> {
  const real = await realpath(dir).catch((error: unknown) => {
    throw unreadable(dir, error);
  });
  if (above.has(real)) return;
  const entries = await readdir(real).catch((error: unknown) => {
    throw unreadable(dir, error);
  });
  for (const name of entries) {
    if (name.startsWith('.')) continue;
    const path = `${prefix}${name}`;
    const source = join(dir, name);
    const info = await stat(source);
    if (info.isDirectory()) await walk(source, `${path}/`, files, new Set([...above, real]));
    else if (info.isFile()) files.push(checked({ path, source, size: info.size }));
  }
}

/** @throws ArmatureError `invalid_dataset` when the file's path or size cannot travel. */
export function checked(file: LocalFile): LocalFile {
  const result = datasetFileSchema
    .pick({ path: true, size: true })
    .safeParse({ path: file.path, size: file.size });
  if (result.success) return file;
  const [problem, fix] = whyNot(file.size);
  throw new ArmatureError('invalid_dataset', `${file.path} ${problem}`, { field: file.path, fix });
}

function whyNot(size: number): [problem: string, fix: string] {
  if (size === 0) return ['is empty', 'Remove the file, or record it again.'];
  if (size > MAX_FILE_BYTES) {
    const most = MAX_FILE_BYTES / 2 ** 30;
    return [
      `has ${(size / 2 ** 30).toFixed(1)} GiB, more than ${most}`,
      `Record in files of at most ${most} GiB.`,
    ];
  }
  return [
    'has a path that cannot travel',
    'Use letters, digits, dots, dashes, underscores and slashes only.',
  ];
}

/**
 * The SHA-256 of each file, read as streams, two at a time.
 * @param onBytes called with the number of bytes read since the last call.
 */
export async function hashFiles(
  files: readonly LocalFile[],
  onBytes: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<HashedFile[]> {
  const hashed = new Array<HashedFile | undefined>(files.length);
  const queue = files.entries();
  const worker = async (): Promise<void> => {
    for (const [index, file] of queue) {
      throwIfCancelled(signal);
      hashed[index] = { ...file, sha256: await hashFile(file, onBytes, signal) };
    }
  };
  await Promise.all([worker(), worker()]);
  return hashed.filter((file) => file !== undefined);
}

async function hashFile(
  file: LocalFile,
  onBytes: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash('sha256');
  let size = 0;
  const stream: AsyncIterable<Buffer> = createReadStream(file.source, { highWaterMark: 1 << 18 });
  for await (const chunk of stream) {
    throwIfCancelled(signal);
    hash.update(chunk);
    size += chunk.length;
    onBytes(chunk.length);
  }
  if (size !== file.size) {
    throw new ArmatureError('invalid_dataset', `${file.path} changed while it was read`, {
      field: file.path,
      fix: 'Wait until the recording is finished and push it again.',
    });
  }
  return hash.digest('hex');
}

/** The part of a file that the contract knows. */
export function toDatasetFile(file: HashedFile): DatasetFile {
  return { path: file.path, size: file.size, sha256: file.sha256 };
}

function unreadable(dir: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !('code' in cause)) return cause;
  return new ArmatureError('not_found', `${dir} cannot be read (${String(cause.code)})`, {
    field: 'dir',
    fix: 'Give the folder of a recorded data set.',
    cause,
  });
}
