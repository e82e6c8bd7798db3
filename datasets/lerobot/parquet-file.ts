import { brotliDecompressSync, unzipSync } from 'node:zlib';
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync } from 'hyparquet';
import type { Compressors } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { ArmatureError } from '@armature/sdk/contract';
import type { BlobSource } from '../source/blob-source.ts';
import { missingFile } from '../source/directory.ts';
import { zstdExactly } from '../zstd.ts';

/** Bytes of a file's own description: 20,000 row groups of ten columns take about half of it. */
const MAX_FOOTER_BYTES = 32 << 20;
const MAX_ROW_GROUPS = 20_000;
/** Rows of one file: 100 robot hours at 50 Hz. */
const MAX_ROWS = 20_000_000;
/** Bytes of one page after decompression; writers make pages of 1 MiB. */
const MAX_PAGE_BYTES = 64 << 20;
/** Bytes of all pages that one read decompresses. */
const MAX_READ_BYTES = 1 << 30;

export interface ParquetFile {
  readonly file: AsyncBuffer;
  readonly metadata: FileMetaData;
  /** Decompressors that stop at this file's share of memory. */
  readonly compressors: Compressors;
}

/**
 * Opens a parquet file and lets `read` read it. What the file claims of itself is checked against
 * what a recording can have before memory is set aside for it.
 * @throws ArmatureError `not_found`, or `invalid_dataset` for a file that is damaged or too large.
 */
export async function withParquet<T>(
  source: BlobSource,
  path: string,
  read: (parquet: ParquetFile) => Promise<T>,
): Promise<T> {
  const file = await asyncBuffer(source, path);
  try {
    await checkFooter(file);
    const metadata = await parquetMetadataAsync(file);
    limit('row groups', metadata.row_groups.length, MAX_ROW_GROUPS);
    limit('rows', Number(metadata.num_rows), MAX_ROWS);
    return await read({ file, metadata, compressors: boundedCompressors() });
  } catch (error) {
    if (error instanceof ArmatureError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ArmatureError('invalid_dataset', `${path} is no readable parquet file: ${reason}`, {
      field: path,
      fix: `Export ${path} again.`,
      cause: error,
    });
  }
}

/** A limit that the file goes beyond; `withParquet` names the file. */
function limit(what: string, has: number, most: number): void {
  if (has > most) throw new RangeError(`it has ${has} ${what}, more than ${most}`);
}

async function checkFooter(file: AsyncBuffer): Promise<void> {
  if (file.byteLength < 12) throw new RangeError(`it has but ${file.byteLength} bytes`);
  const tail = new DataView(await file.slice(file.byteLength - 8, file.byteLength));
  limit('bytes of metadata', tail.getUint32(0, true), MAX_FOOTER_BYTES);
}

/**
 * Decompressors that set no more aside than the size that they are told. Of the library's own, the
 * one for Zstandard inflates whatever is there; those for gzip and Brotli are slower than Node's.
 */
const exact: Compressors = {
  ...compressors,
  GZIP: (input, size) => unzipSync(input, { maxOutputLength: Math.max(1, size) }),
  BROTLI: (input, size) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, size) }),
  ZSTD: zstdExactly,
};

/** Every decompressor is told the size that the page declares, which is believed up to a limit. */
function boundedCompressors(): Compressors {
  let total = 0;
  return Object.fromEntries(
    Object.entries(exact).map(([codec, decompress]) => [
      codec,
      (input: Uint8Array, size: number): Uint8Array => {
        limit('bytes in one page', size, MAX_PAGE_BYTES);
        total += size;
        limit('bytes in its columns', total, MAX_READ_BYTES);
        return decompress(input, size);
      },
    ]),
  );
}

async function asyncBuffer(source: BlobSource, path: string): Promise<AsyncBuffer> {
  const size = await source.size(path);
  if (size === null) throw missingFile(path);
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
