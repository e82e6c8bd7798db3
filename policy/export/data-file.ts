import { createHash } from 'node:crypto';
import { elementBytes, sizeOf, type ExternalData } from '../tensor/index.ts';
import type { StoredPart, StoredWeight } from './stored-weights.ts';

/** A file that grows at its end. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void>;
}

/** Where every part begins: what a memory page allows, so that the runtime can map the file. */
const ALIGNMENT = 4096;

export function bytesOf({ dtype, shape }: StoredPart): number {
  return sizeOf(shape) * elementBytes[dtype];
}

/** The place of every part, in the order in which they are written, and the file's size. */
export function layOut(
  weights: readonly StoredWeight[],
  location: string,
): { readonly places: ReadonlyMap<string, ExternalData>; readonly size: number } {
  const places = new Map<string, ExternalData>();
  let end = 0;
  for (const part of weights.flatMap(({ parts }) => [...parts])) {
    const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    const length = bytesOf(part);
    places.set(part.name, { location, offset, length });
    end = offset + length;
  }
  return { places, size: end };
}

/** Writes parts at their places and takes the file's digest on the way. */
export class DataFile {
  private readonly sink: ByteSink;
  private readonly hash = createHash('sha256');
  private at = 0;

  constructor(sink: ByteSink) {
    this.sink = sink;
  }

  /** Fills up to a place with zeros. Throws RangeError for one that is passed. */
  async seek(offset: number): Promise<void> {
    if (offset < this.at) throw new RangeError(`byte ${offset} is written already`);
    await this.write(new Uint8Array(offset - this.at));
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength === 0) return;
    this.hash.update(bytes);
    await this.sink.write(bytes);
    this.at += bytes.byteLength;
  }

  get size(): number {
    return this.at;
  }

  /** Lower-case hexadecimal sha256 of everything written. No more can be written afterwards. */
  digest(): string {
    return this.hash.digest('hex');
  }
}
