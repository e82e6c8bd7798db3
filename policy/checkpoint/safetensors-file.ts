import {
  PREFIX_BYTES,
  SafetensorsError,
  arrays,
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
  /**
   * One tensor's bytes are read, and no others; with `range` only those of some elements, as a vector.
   * Rejects with SafetensorsError for a name it lacks or a range outside.
   */
  read(name: string, range?: ElementRange): Promise<SafeTensor>;
}

/** Elements of a tensor, row after row: `from` up to, not including, `to`. */
export interface ElementRange {
  readonly from: number;
  readonly to: number;
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
    async read(name, range) {
      const whole = entries.get(name);
      if (whole === undefined) throw new SafetensorsError(`there is no tensor ${name}`);
      const entry = range === undefined ? whole : part(name, whole, range);
      return tensorOf(entry, await source.read(start + entry.begin, entry.end - entry.begin));
    },
  };
}

function part(name: string, whole: Entry, { from, to }: ElementRange): Entry {
  const width = arrays[whole.dtype].BYTES_PER_ELEMENT;
  const begin = whole.begin + from * width;
  const end = whole.begin + to * width;
  if (!(from >= 0 && from <= to && end <= whole.end)) {
    throw new SafetensorsError(`${name} has no elements ${from} to ${to}`);
  }
  return { dtype: whole.dtype, shape: [to - from], begin, end };
}
