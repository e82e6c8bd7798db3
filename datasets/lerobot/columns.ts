import { parquetRead, parquetReadObjects, parquetSchema } from 'hyparquet';
import type { ColumnData } from 'hyparquet';
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
    const chunks = new Map<string, ColumnData[]>();
    const all = { start: 0, end: Number(metadata.num_rows) };
    const wanted = range ?? all;
    const present = new Set(parquetSchema(metadata).children.map((child) => child.element.name));
    await parquetRead({
      file,
      metadata,
      columns: names.filter((name) => present.has(name)),
      compressors,
      rowStart: wanted.start,
      rowEnd: wanted.end,
      onChunk: (chunk) => {
        const list = chunks.get(chunk.columnName);
        if (list === undefined) chunks.set(chunk.columnName, [chunk]);
        else list.push(chunk);
      },
    });
    const result = new Map<string, Column>();
    for (const [name, parts] of chunks) result.set(name, toColumn(path, name, wanted, parts));
    return result;
  });
}

/** Chunks may reach past the range at both ends. */
function toColumn(
  path: string,
  name: string,
  { start, end }: RowRange,
  parts: readonly ColumnData[],
): Column {
  const rows = end - start;
  let width = 0;
  let values = new Float64Array(0);
  for (const part of parts) {
    const last = Math.min(part.columnData.length, end - part.rowStart);
    for (let i = Math.max(0, start - part.rowStart); i < last; i += 1) {
      const row = flat(part.columnData[i]);
      if (width === 0) {
        width = Math.min(row.length, MAX_WIDTH + 1);
        values = new Float64Array(rows * width);
      }
      if (row.length !== width || width > MAX_WIDTH) {
        throw new ArmatureError(
          'invalid_dataset',
          `${path}: row ${part.rowStart + i} of ${name} has ${row.length} values, ${width > MAX_WIDTH ? `more than ${MAX_WIDTH}` : `the others have ${width}`}`,
          { field: name, fix: `Give every row of ${name} the same number of values.` },
        );
      }
      values.set(row, (part.rowStart + i - start) * width);
    }
  }
  return { rows, width, values };
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
