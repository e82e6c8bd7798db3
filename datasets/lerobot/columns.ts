import { parquetMetadataAsync, parquetRead, parquetSchema } from 'hyparquet';
import type { AsyncBuffer, ColumnData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { ArmatureError } from '@armature/sdk/contract';
import type { BlobSource } from '../source/blob-source.ts';

/** A column as numbers, row-major: f64 [rows · width]. Missing values are NaN. */
export interface Column {
  readonly rows: number;
  readonly width: number;
  readonly values: Float64Array;
}

/**
 * Reads numeric columns of a parquet file: scalars, lists and fixed-size lists, of whatever
 * encoding, compression and number of row groups. Columns that the file lacks are left out.
 * @throws ArmatureError `not_found`, or `invalid_dataset` for a damaged file or ragged rows.
 */
export async function readColumns(
  source: BlobSource,
  path: string,
  names: readonly string[],
): Promise<Map<string, Column>> {
  const file = await asyncBuffer(source, path);
  const chunks = new Map<string, ColumnData[]>();
  let rows: number;
  try {
    const metadata = await parquetMetadataAsync(file);
    rows = Number(metadata.num_rows);
    const present = new Set(parquetSchema(metadata).children.map((child) => child.element.name));
    const columns = names.filter((name) => present.has(name));
    await parquetRead({
      file,
      metadata,
      columns,
      compressors,
      onChunk: (chunk) => {
        const list = chunks.get(chunk.columnName);
        if (list === undefined) chunks.set(chunk.columnName, [chunk]);
        else list.push(chunk);
      },
    });
  } catch (error) {
    if (error instanceof ArmatureError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ArmatureError('invalid_dataset', `${path} is no readable parquet file: ${reason}`, {
      field: path,
      fix: `Export ${path} again.`,
      cause: error,
    });
  }
  const result = new Map<string, Column>();
  for (const [name, parts] of chunks) result.set(name, toColumn(path, name, rows, parts));
  return result;
}

function toColumn(path: string, name: string, rows: number, parts: readonly ColumnData[]): Column {
  let width = 0;
  let values = new Float64Array(0);
  for (const part of parts) {
    for (let i = 0; i < part.columnData.length; i += 1) {
      const row = flat(part.columnData[i]);
      if (width === 0) {
        width = row.length;
        values = new Float64Array(rows * width);
      }
      if (row.length !== width) {
        throw new ArmatureError(
          'invalid_dataset',
          `${path}: row ${part.rowStart + i} of ${name} has ${row.length} values, the others have ${width}`,
          { field: name, fix: `Give every row of ${name} the same number of values.` },
        );
      }
      values.set(row, (part.rowStart + i) * width);
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

async function asyncBuffer(source: BlobSource, path: string): Promise<AsyncBuffer> {
  const size = await source.size(path);
  if (size === null) {
    throw new ArmatureError('not_found', `the data set has no file ${path}`, {
      field: path,
      fix: `Upload ${path}.`,
    });
  }
  return {
    byteLength: size,
    async slice(start, end) {
      const from = start < 0 ? size + start : start;
      const bytes = await source.read(path, { start: from, end: end ?? size });
      const copy = new ArrayBuffer(bytes.length);
      new Uint8Array(copy).set(bytes);
      return copy;
    },
  };
}
