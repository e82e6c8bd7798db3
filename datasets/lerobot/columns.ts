import { parquetRead, parquetReadObjects, parquetSchema } from 'hyparquet';
import type { ColumnData, FileMetaData } from 'hyparquet';
import { ArmatureError, fromZodError } from '@armature/sdk/contract';
import { z } from 'zod';
import type { BlobSource } from '../source/blob-source.ts';
import { withParquet } from './parquet-file.ts';

/** A column as numbers, row-major: f64 [rows · width]. Missing values are NaN. */
export interface Column {
  readonly rows: number;
  readonly width: number;
  readonly values: Float64Array;
}

/** Rows `start` to before `end` of a file. */
export interface RowRange {
  readonly start: number;
  readonly end: number;
}

/** Values in a row of one column: no feature of a robot has more. */
const MAX_WIDTH = 4096;

/**
 * Reads numeric columns of a parquet file: scalars, lists and fixed-size lists, of whatever
 * encoding, compression and number of row groups. Columns that the file lacks are left out.
 * @param range rows wanted; all of the file when absent
 * @throws ArmatureError `not_found`, or `invalid_dataset` for a damaged file or ragged rows.
 */
export async function readColumns(
  source: BlobSource,
  path: string,
  names: readonly string[],
  range?: RowRange,
): Promise<Map<string, Column>> {
  return await withParquet(source, path, async ({ file, metadata, compressors }) => {
    const wanted = range ?? { start: 0, end: Number(metadata.num_rows) };
    const present = new Set(parquetSchema(metadata).children.map((child) => child.element.name));
    const columns = names.filter((name) => present.has(name));
    const filled = new Map(columns.map((name) => [name, new Filling(path, name, wanted)]));
    // A group at a time: as lists of numbers, rows take many times what they take as an array.
    for (const { start, end } of groupsOf(metadata, wanted)) {
      const chunks: ColumnData[] = [];
      await parquetRead({
        file,
        metadata,
        columns,
        compressors,
        rowStart: start,
        rowEnd: end,
        onChunk: (chunk) => chunks.push(chunk),
      });
      for (const chunk of chunks) filled.get(chunk.columnName)?.take(chunk, { start, end });
    }
    return new Map([...filled].map(([name, filling]) => [name, filling.column()]));
  });
}

/** The rows wanted of each row group. */
function groupsOf({ row_groups }: FileMetaData, { start, end }: RowRange): RowRange[] {
  const ranges: RowRange[] = [];
  let first = 0;
  for (const group of row_groups) {
    const last = first + Number(group.num_rows);
    if (first < end && last > start) {
      ranges.push({ start: Math.max(first, start), end: Math.min(last, end) });
    }
    first = last;
  }
  return ranges;
}

/** A column that is filled from what is read of it. */
class Filling {
  readonly #path: string;
  readonly #name: string;
  readonly #range: RowRange;
  #width = 0;
  #values = new Float64Array(0);

  constructor(path: string, name: string, range: RowRange) {
    this.#path = path;
    this.#name = name;
    this.#range = range;
  }

  /** A chunk may reach past the rows asked for at both ends. */
  take({ columnData, rowStart }: ColumnData, { start, end }: RowRange): void {
    const rows = this.#range.end - this.#range.start;
    const last = Math.min(columnData.length, end - rowStart);
    for (let i = Math.max(0, start - rowStart); i < last; i += 1) {
      const row = flat(columnData[i]);
      if (this.#width === 0) {
        this.#width = Math.min(row.length, MAX_WIDTH + 1);
        this.#values = new Float64Array(rows * this.#width);
      }
      if (row.length !== this.#width || this.#width > MAX_WIDTH) {
        throw new ArmatureError(
          'invalid_dataset',
          `${this.#path}: row ${rowStart + i} of ${this.#name} has ${row.length} values, ${this.#width > MAX_WIDTH ? `more than ${MAX_WIDTH}` : `the others have ${this.#width}`}`,
          { field: this.#name, fix: `Give every row of ${this.#name} the same number of values.` },
        );
      }
      this.#values.set(row, (rowStart + i - this.#range.start) * this.#width);
    }
  }

  column(): Column {
    const { start, end } = this.#range;
    return { rows: end - start, width: this.#width, values: this.#values };
  }
}

/** A cell's numbers in order; `null` is NaN. */
function flat(cell: unknown): number[] {
  if (typeof cell === 'number') return [cell];
  if (typeof cell === 'bigint' || typeof cell === 'boolean') return [Number(cell)];
  if (Array.isArray(cell)) return cell.flatMap(flat);
  if (ArrayBuffer.isView(cell) && Symbol.iterator in cell) {
    return Array.from(cell as Iterable<number | bigint>, Number);
  }
  return [Number.NaN];
}

/**
 * Reads a table of few rows, each parsed by the schemas of its columns. With `others`, columns
 * without a schema are read as well.
 * @throws ArmatureError `not_found`, or `invalid_dataset` naming the first wrong column.
 */
export async function readRows(
  source: BlobSource,
  path: string,
  shape: Readonly<Record<string, z.ZodType>>,
  others: 'others' | 'only' = 'only',
): Promise<Map<string, unknown>[]> {
  const schema = z.looseObject(shape);
  return await withParquet(source, path, async ({ file, metadata, compressors }) => {
    const present = parquetSchema(metadata).children.map((child) => child.element.name);
    const rows: unknown[] = await parquetReadObjects({
      file,
      metadata,
      compressors,
      columns: others === 'others' ? present : present.filter((name) => name in shape),
    });
    return rows.map((row, index) => {
      const parsed = schema.safeParse(row);
      if (parsed.success) return new Map(Object.entries(parsed.data));
      throw fromZodError(parsed.error, 'invalid_dataset', `${path} row ${index}`);
    });
  });
}
