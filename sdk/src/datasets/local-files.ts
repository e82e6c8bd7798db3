import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ArmatureError,
  datasetFileSchema,
  type DatasetFile,
  type FilePart,
  MAX_FILE_BYTES,
  MAX_FILE_PARTS,
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
  /** What it is uploaded in, where it is larger than a part. */
  readonly parts?: readonly FilePart[];
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
    const most = MAX_FILE_BYTES / 2 ** 40;
    return [
      `has ${(size / 2 ** 40).toFixed(1)} TiB, more than ${most}`,
      `Record in files of at most ${most} TiB.`,
    ];
  }
  return [
    'has a path that cannot travel',
    'Use letters, digits, dots, dashes, underscores and slashes only.',
  ];
}

/**
 * The SHA-256 of each file, and of each part of those that are larger than `partBytes`, read as streams,
 * two at a time.
 * @param onBytes called with the number of bytes read since the last call.
 */
export async function hashFiles(
  files: readonly LocalFile[],
  partBytes: number,
  onBytes: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<HashedFile[]> {
  const hashed = new Array<HashedFile | undefined>(files.length);
  const queue = files.entries();
  const worker = async (): Promise<void> => {
    for (const [index, file] of queue) {
      throwIfCancelled(signal);
      hashed[index] = { ...file, ...(await hashFile(file, partBytes, onBytes, signal)) };
    }
  };
  await Promise.all([worker(), worker()]);
  return hashed.filter((file) => file !== undefined);
}

async function hashFile(
  file: LocalFile,
  partBytes: number,
  onBytes: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<Pick<HashedFile, 'sha256' | 'parts'>> {
  const hash = createHash('sha256');
  const parts = file.size > partBytes ? new PartHashes(partBytes) : undefined;
  let size = 0;
  const stream: AsyncIterable<Buffer> = createReadStream(file.source, { highWaterMark: 1 << 18 });
  for await (const chunk of stream) {
    throwIfCancelled(signal);
    hash.update(chunk);
    parts?.update(chunk);
    size += chunk.length;
    onBytes(chunk.length);
  }
  if (size !== file.size) {
    throw new ArmatureError('invalid_dataset', `${file.path} changed while it was read`, {
      field: file.path,
      fix: 'Wait until the recording is finished and push it again.',
    });
  }
  const sha256 = hash.digest('hex');
  return parts === undefined ? { sha256 } : { sha256, parts: parts.end() };
}

/** Hashes of the parts of a stream, `partBytes` each but the last. */
class PartHashes {
  private readonly partBytes: number;
  private readonly parts: FilePart[] = [];
  private hash = createHash('sha256');
  private size = 0;

  constructor(partBytes: number) {
    this.partBytes = partBytes;
  }

  update(chunk: Uint8Array): void {
    for (let start = 0; start < chunk.length;) {
      const piece = chunk.subarray(start, start + this.partBytes - this.size);
      this.hash.update(piece);
      this.size += piece.length;
      start += piece.length;
      if (this.size === this.partBytes) this.close();
    }
  }

  end(): FilePart[] {
    if (this.size > 0) this.close();
    return this.parts;
  }

  private close(): void {
    this.parts.push({ size: this.size, sha256: this.hash.digest('hex') });
    this.hash = createHash('sha256');
    this.size = 0;
  }
}

/**
 * Bytes of a part, for files that are to be sent in parts of `least`: more, in whole MiB, where a plan would
 * have more parts than it may.
 */
export function partBytesFor(files: readonly LocalFile[], least: number): number {
  const large = files.reduce((sum, { size }) => (size > least ? sum + size : sum), 0);
  // Half of what a plan may have, and all that a file may: the last part of each may be small.
  const fewest = Math.ceil(large / MAX_FILE_PARTS / 2 ** 20) * 2 ** 20;
  return Math.max(least, large / least > MAX_FILE_PARTS ? fewest : 0);
}

/** The part of a file that the contract knows. */
export function toDatasetFile(file: HashedFile): DatasetFile {
  const { path, size, sha256, parts } = file;
  return { path, size, sha256, ...(parts === undefined ? {} : { parts: [...parts] }) };
}

function unreadable(dir: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !('code' in cause)) return cause;
  return new ArmatureError('not_found', `${dir} cannot be read (${String(cause.code)})`, {
    field: 'dir',
    fix: 'Give the folder of a recorded data set.',
    cause,
  });
}
