import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { CompressionCodec } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';

const MIB = 1 << 20;

/** A Zstandard frame of unknown size whose blocks repeat one byte 128 KiB at a time (RFC 8878, 3.1.1). */
export function zstdOfZeros(mib: number): Uint8Array {
  const blocks = mib * 8;
  const bytes = new Uint8Array(6 + blocks * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xfd2fb528, true);
  // No size, no checksum; a window of 128 KiB.
  bytes.set([0, 7 << 3], 4);
  for (let block = 0; block < blocks; block += 1) {
    const header = ((128 << 10) << 3) | (1 << 1) | (block + 1 === blocks ? 1 : 0);
    bytes.set([header & 255, (header >> 8) & 255, (header >> 16) & 255, 0], 6 + block * 4);
  }
  return bytes;
}

/** One zero, then copies of 64 from one back (google/snappy, format_description.txt). */
function snappyOfZeros(mib: number): Uint8Array {
  const copies = Math.ceil((mib * MIB) / 64);
  const length = copies * 64 + 1;
  const preamble: number[] = [];
  for (let rest = length; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) {
      preamble.push(rest);
      break;
    }
    preamble.push((rest % 128) | 128);
  }
  const bytes = new Uint8Array(preamble.length + 2 + copies * 3);
  bytes.set([...preamble, 0, 0]);
  for (let copy = 0; copy < copies; copy += 1) {
    bytes.set([(63 << 2) | 2, 1, 0], preamble.length + 2 + copy * 3);
  }
  return bytes;
}

/** One zero, then one match that goes on and on (lz4, doc/lz4_Block_format.md). */
function lz4OfZeros(mib: number): Uint8Array {
  const more = Math.floor((mib * MIB) / 255);
  const bytes = new Uint8Array(4 + more + 3).fill(255);
  bytes.set([0x1f, 0, 1, 0]);
  bytes.set([0, 0x10, 0], 4 + more);
  return bytes;
}

/** A page of zeros in every codec that parquet knows. */
export const pagesOfZeros: Partial<Record<CompressionCodec, (mib: number) => Uint8Array>> = {
  GZIP: (mib) => gzipSync(Buffer.alloc(mib * MIB)),
  BROTLI: (mib) =>
    brotliCompressSync(Buffer.alloc(mib * MIB), {
      params: { [constants.BROTLI_PARAM_QUALITY]: 5 },
    }),
  ZSTD: zstdOfZeros,
  SNAPPY: snappyOfZeros,
  LZ4_RAW: lz4OfZeros,
  LZ4: lz4OfZeros,
};

/** A sound parquet file of `rows` timestamps but for the bytes of its page, which are `page`. */
export function parquetWithPage(codec: CompressionCodec, page: Uint8Array, rows: number): Buffer {
  const file = parquetWriteBuffer({
    columnData: [
      { name: 'timestamp', data: new Float32Array(rows), type: 'FLOAT', encoding: 'PLAIN' },
    ],
    codec,
    compressors: { [codec]: () => page },
    pageSize: 1 << 30,
    rowGroupSize: rows,
    statistics: false,
  });
  return Buffer.from(file);
}

/**
 * A sound parquet file but for a run of 2³¹ equal levels in a page of a few bytes (Parquet, RLE and
 * bit-packed hybrid): readers that believe it fill an array of as many.
 */
export function parquetWithEndlessRun(): Buffer {
  const rows = 30;
  const file = Buffer.from(
    parquetWriteBuffer({
      columnData: [
        {
          name: 'timestamp',
          data: Array.from({ length: rows }, (_, t) => (t % 2 === 0 ? null : t / 10)),
          type: 'FLOAT',
          encoding: 'PLAIN',
        },
      ],
      codec: 'UNCOMPRESSED',
      rowGroupSize: rows,
    }),
  );
  // Levels that alternate are written as one bit-packed run of 32: 9, then the bits.
  const levels = file.indexOf(Buffer.from([9, 0xaa, 0xaa, 0xaa, 0x2a]));
  if (levels < 0) throw new Error('the levels are not where they were');
  // A repeated run whose length is the varint of 2³¹ - 1.
  file.set([0xfe, 0xff, 0xff, 0xff, 0x0f], levels);
  return file;
}
