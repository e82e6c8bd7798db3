import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Bytes of rows in memory before they are written out. */
const MEMORY_BYTES = 16 << 20;

/**
 * Rows that come an episode at a time and are asked for a column at a time, as true quantiles need
 * them. So much of them as `MEMORY_BYTES` is in memory; the rest lies in a file a column.
 */
export class ColumnStore {
  readonly width: number;
  readonly #scratch: string;
  #pending: Float32Array[] = [];
  #pendingBytes = 0;
  #rows = 0;
  #folder: string | undefined;
  /** Writes follow one another: rows come from several lanes. */
  #writes: Promise<void> = Promise.resolve();

  /** @param scratch folder in which the files lie while the store is open; the system's otherwise */
  constructor(width: number, scratch: string = tmpdir()) {
    this.width = width;
    this.#scratch = scratch;
  }

  get rows(): number {
    return this.#rows;
  }

  /** @param values row-major f32 [rows · width] */
  async add(values: Float32Array): Promise<void> {
    this.#rows += values.length / this.width;
    this.#pending.push(values);
    this.#pendingBytes += values.byteLength;
    if (this.#pendingBytes < MEMORY_BYTES) return;
    const parts = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#writes = this.#writes.then(() => this.#write(parts));
    await this.#writes;
  }

  /** One column, in the order in which the rows came. f32 [rows] */
  async column(dimension: number): Promise<Float32Array> {
    await this.#writes;
    const values = new Float32Array(this.#rows);
    let row = 0;
    if (this.#folder !== undefined) {
      const bytes = await readFile(join(this.#folder, String(dimension)));
      new Uint8Array(values.buffer).set(bytes);
      row = bytes.length / Float32Array.BYTES_PER_ELEMENT;
    }
    for (const part of this.#pending) {
      for (let i = dimension; i < part.length; i += this.width) {
        values[row] = part[i] ?? Number.NaN;
        row += 1;
      }
    }
    return values;
  }

  async close(): Promise<void> {
    await this.#writes;
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  async #write(parts: readonly Float32Array[]): Promise<void> {
    const folder = this.#folder ?? (await mkdtemp(join(this.#scratch, 'armature-columns-')));
    this.#folder = folder;
    const rows = parts.reduce((sum, part) => sum + part.length / this.width, 0);
    const column = new Float32Array(rows);
    for (let dimension = 0; dimension < this.width; dimension += 1) {
      let row = 0;
      for (const part of parts) {
        for (let i = dimension; i < part.length; i += this.width) {
          column[row] = part[i] ?? Number.NaN;
          row += 1;
        }
      }
      const file = await open(join(folder, String(dimension)), 'a');
      try {
        await file.writeFile(new Uint8Array(column.buffer));
      } finally {
        await file.close();
      }
    }
  }
}
