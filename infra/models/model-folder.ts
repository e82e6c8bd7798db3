import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelFolder } from '@armature/policy/backbones';

/** A folder of model files on this disk; files are read in parts, and open while they are read alone. */
export async function modelFolder(path: string): Promise<ModelFolder> {
  return {
    files: await readdir(path),
    async open(file) {
      const at = join(path, file);
      const handle = await open(at);
      const { size } = await handle.stat().finally(() => handle.close());
      return {
        size,
        async read(offset, length) {
          const reader = await open(at);
          try {
            const bytes = new Uint8Array(length);
            const { bytesRead } = await reader.read(bytes, 0, length, offset);
            if (bytesRead !== length) throw new RangeError(`${at} ends early`);
            return bytes;
          } finally {
            await reader.close();
          }
        },
      };
    },
  };
}
