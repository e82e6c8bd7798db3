import { ArmatureError } from '@armature/sdk/contract';
import type { BlobSource, ByteRange } from './blob-source.ts';
import { missingFile } from './directory.ts';

/** What of an object store a source needs; `@armature/storage`'s port has it. */
export interface ReadableStore {
  get(key: string, range?: ByteRange): Promise<Uint8Array>;
  head(key: string): Promise<{ readonly size: number } | null>;
  list(prefix: string): AsyncIterable<{ readonly key: string }>;
  localPath?(key: string): Promise<string>;
}

/**
 * A data set under `prefix` (ending in `/`) of an object store. A store that does not answer is `unavailable`, so
 * that no reader takes it for a damaged file.
 */
export function fromStore(store: ReadableStore, prefix: string): BlobSource {
  const size = async (path: string): Promise<number | null> =>
    (await answered(path, () => store.head(prefix + path)))?.size ?? null;
  const local = store.localPath?.bind(store);
  return {
    size,
    async read(path, range) {
      const total = await size(path);
      if (total === null) throw missingFile(path);
      if (range === undefined) return await answered(path, () => store.get(prefix + path));
      const end = Math.min(range.end, total);
      if (range.start >= end) return new Uint8Array(0);
      const part = { start: range.start, end };
      return await answered(path, () => store.get(prefix + path, part));
    },
    ...(local === undefined
      ? {}
      : { localPath: (path: string) => answered(path, () => local(prefix + path)) }),
    async list() {
      const paths: string[] = [];
      for await (const { key } of store.list(prefix)) paths.push(key.slice(prefix.length));
      return paths.sort();
    },
  };
}

async function answered<T>(path: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    if (cause instanceof ArmatureError) throw cause;
    throw new ArmatureError('unavailable', `the object store does not answer for ${path}`, {
      cause,
    });
  }
}
