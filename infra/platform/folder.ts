import { mkdirSync } from 'node:fs';
import path from 'node:path';

/** Where one platform keeps what outlives it. */
export interface PlatformFolder {
  readonly root: string;
  readonly lock: string;
  readonly secrets: string;
  readonly ports: string;
  readonly dev: string;
  readonly sample: string;
  readonly postgres: string;
  readonly objects: string;
  readonly spool: string;
  readonly cache: string;
  readonly logs: string;
}

/** Makes the folders that are not there yet. */
export function platformFolder(dir: string): PlatformFolder {
  const root = path.resolve(dir);
  const at = (name: string): string => path.join(root, name);
  const folder = {
    root,
    lock: at('platform.lock'),
    secrets: at('secrets.json'),
    ports: at('ports.json'),
    dev: at('dev.json'),
    sample: at('sample.json'),
    postgres: at('postgres'),
    objects: at('objects'),
    spool: at('spool'),
    cache: at('cache'),
    logs: at('logs'),
  };
  for (const made of [folder.root, folder.objects, folder.spool, folder.cache, folder.logs]) {
    mkdirSync(made, { recursive: true });
  }
  return folder;
}
