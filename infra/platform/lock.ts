import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { z } from 'zod';
import { PlatformError } from './errors.ts';
import { isErrno, readJson } from './json-file.ts';

const holderSchema = z.object({
  pid: z.number().int().positive(),
  /** When the process started, in the kernel's clock; null where the system does not tell. */
  started: z.string().nullable(),
});
type Holder = z.infer<typeof holderSchema>;

export interface Lock {
  release(): void;
}

/**
 * Takes the lock of a platform's folder: two platforms in one folder would share a database and
 * fight for its ports. A lock whose process is gone, or whose number another process has since
 * been given, is stale and is replaced.
 * @throws PlatformError when a living platform holds it.
 */
export function takeLock(file: string): Lock {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const handle = openSync(file, 'wx', 0o600);
      const holder: Holder = { pid: process.pid, started: startOf(process.pid) };
      writeSync(handle, JSON.stringify(holder));
      closeSync(handle);
      return { release: () => rmSync(file, { force: true }) };
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    const holder = readHolder(file);
    if (holder !== undefined && isAlive(holder)) {
      throw new PlatformError(`Another platform (process ${holder.pid}) runs in this folder.`, {
        fix: 'Stop it, or start this one with another --dir.',
      });
    }
    if (attempt > 2) throw new PlatformError(`The lock ${file} can't be taken.`);
    rmSync(file, { force: true });
  }
}

/** A lock that was cut off while it was written belongs to nobody. */
function readHolder(file: string): Holder | undefined {
  try {
    return readJson(file, holderSchema);
  } catch (error) {
    if (error instanceof PlatformError) return undefined;
    throw error;
  }
}

function isAlive(holder: Holder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return false;
    if (!isErrno(error, 'EPERM')) throw error;
  }
  return holder.started === startOf(holder.pid);
}

/** Field 22 of /proc/PID/stat (clock ticks after boot), counted behind the command's name. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ESRCH')) return null;
    throw error;
  }
}
