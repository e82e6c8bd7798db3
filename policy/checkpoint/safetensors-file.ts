import {
  PREFIX_BYTES,
  SafetensorsError,
  headerEnd,
  readHeader,
  tensorOf,
  type Entry,
  type SafeTensor,
} from './safetensors-header.ts';

/** Bytes that lie elsewhere and are read in parts: a file on a disk, an object in a store. */
export interface ByteSource {
  /** In bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A safetensors file of which only the header is in memory. */
export interface OpenSafetensors {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly metadata: Readonly<Record<string, string>>;
  /** One tensor's bytes are read, and no others. Rejects with SafetensorsError for a name it lacks. */
  read(name: string): Promise<SafeTensor>;
}

/** Reads the header of a file. Rejects with SafetensorsError. */
export async function openSafetensors(source: ByteSource): Promise<OpenSafetensors> {
  const prefix = await source.read(0, Math.min(PREFIX_BYTES, source.size));
  const end = headerEnd(prefix, source.size);
  const json = await source.read(PREFIX_BYTES, end - PREFIX_BYTES);
  const { entries, metadata, start } = readHeader(json, source.size);
  return {
    entries,
    metadata,
    async read(name) {
      const entry = entries.get(name);
      if (entry === undefined) throw new SafetensorsError(`there is no tensor ${name}`);
      return tensorOf(entry, await source.read(start + entry.begin, entry.end - entry.begin));
    },
  };
}
