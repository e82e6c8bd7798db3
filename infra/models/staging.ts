import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { ArmatureError } from '@armature/sdk/contract';

/**
 * Fills a folder that appears whole or not at all: `fill` writes into one beside it, which takes its name
 * at the end and is removed when anything fails.
 * @throws ArmatureError conflict when `out` exists and is not an empty folder.
 */
export async function staged<T>(out: string, fill: (folder: string) => Promise<T>): Promise<T> {
  await checkFree(out);
  await mkdir(path.dirname(out), { recursive: true });
  const folder = `${out}.partial-${randomUUID()}`;
  await mkdir(folder);
  try {
    const result = await fill(folder);
    // An empty folder of that name gives way; one that was filled meanwhile does not.
    await rename(folder, out);
    return result;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
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
