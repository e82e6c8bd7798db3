import { closeSync, existsSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { createWriteStream, type WriteStream } from 'node:fs';

const LARGEST = 16 * 1024 * 1024;

/** Opens a log to append to; one that has grown large is put aside as `FILE.1` first. */
export function openLog(file: string): WriteStream {
  if (existsSync(file) && statSync(file).size > LARGEST) renameSync(file, `${file}.1`);
  return createWriteStream(file, { flags: 'a', mode: 0o600 });
}

/** The last `lines` lines of a log. */
export function logTail(file: string, lines: number): string {
  if (!existsSync(file)) return '';
  const size = statSync(file).size;
  const bytes = Buffer.alloc(Math.min(size, 64 * 1024));
  const handle = openSync(file, 'r');
  readSync(handle, bytes, 0, bytes.length, size - bytes.length);
  closeSync(handle);
  return bytes.toString('utf8').trimEnd().split('\n').slice(-lines).join('\n');
}
