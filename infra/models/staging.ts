import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ArmatureError } from '@armature/sdk/contract';

/** Folders that this process fills. */
const filling = new Set<string>();

/**
 * Fills a folder that appears whole or not at all: `fill` writes into one beside it, which takes its name
 * at the end and is removed when anything fails. What a process left that was killed while it filled the
 * same folder is removed first.
 * @throws ArmatureError conflict when `out` exists and is not an empty folder.
 */
export async function staged<T>(out: string, fill: (folder: string) => Promise<T>): Promise<T> {
  await checkFree(out);
  await mkdir(path.dirname(out), { recursive: true });
  await sweep(out);
  const folder = `${out}.partial-${os.hostname()}-${process.pid}-${randomUUID()}`;
  filling.add(folder);
  try {
    await mkdir(folder);
    const result = await fill(folder);
    // An empty folder of that name gives way; one that was filled meanwhile does not.
    await rename(folder, out);
    return result;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  } finally {
    filling.delete(folder);
  }
}

/** Removes what ended processes of this machine have left of `out`; another machine's are not known to have ended. */
async function sweep(out: string): Promise<void> {
  const start = `${path.basename(out)}.partial-${os.hostname()}-`;
  for (const name of await readdir(path.dirname(out))) {
    if (!name.startsWith(start)) continue;
    const pid = /^(\d+)-[0-9a-f-]{36}$/.exec(name.slice(start.length))?.[1];
    const folder = path.join(path.dirname(out), name);
    if (pid === undefined || filling.has(folder)) continue;
    // A folder with this process's number that it does not fill is of an earlier one.
    if (Number(pid) !== process.pid && isRunning(Number(pid))) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process may not be signalled, but is there.
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}

async function checkFree(out: string): Promise<void> {
  if (!(await isTaken(out))) return;
  throw new ArmatureError('conflict', `${out} is not an empty folder`, {
    field: 'out',
    fix: 'Name a folder that does not exist yet.',
  });
}

/** Whether something other than an empty folder is there. */
async function isTaken(out: string): Promise<boolean> {
  try {
    return (await readdir(out)).length > 0;
  } catch (error) {
    if (error instanceof Error && 'code' in error) {
      if (error.code === 'ENOENT') return false;
      if (error.code === 'ENOTDIR') return true;
    }
    throw error;
  }
}
