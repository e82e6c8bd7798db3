import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';

/** Puts what cannot be looked at in an object's place in a disk store. @returns the path that the error names. */
export async function breakObject(storeRoot: string, key: string): Promise<string> {
  const file = path.join(storeRoot, 'objects', key);
  await mkdir(path.dirname(file), { recursive: true });
  // A link to itself.
  await symlink(file, file);
  return file;
}
