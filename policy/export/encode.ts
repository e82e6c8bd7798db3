import { toFloat32, type ElementRange, type SafeTensor } from '../checkpoint/index.ts';
import {
  fromHalf,
  quantizeBlocks,
  quantizeColumns,
  sizeOf,
  toHalf,
  type TensorData,
} from '../tensor/index.ts';
import { ExportError } from './errors.ts';
import { BLOCK } from './formats.ts';
import type { StoredWeight } from './stored-weights.ts';

/** How far stored values are from the source's. */
export interface WeightError {
  /** Largest difference over the largest value. */
  readonly max: number;
  /** Root of the mean squared difference over that of the values. */
  readonly rms: number;
}

/** Reads elements of the weight's source. */
export type ReadElements = (range: ElementRange) => Promise<SafeTensor>;

/** Elements read at a time. */
const PIECE = 4 * 2 ** 20;

/**
 * A weight's bytes in the order of its parts. Rows are read in pieces.
 * @param begin called before the bytes of each part
 * @returns the error of what was stored
 * Rejects with ExportError for a value that is no number or beyond what the format holds.
 */
export async function encode(
  weight: StoredWeight,
  read: ReadElements,
  begin: (part: number) => Promise<void>,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<WeightError> {
  const error = new ErrorSum();
  const rows = weight.shape.length > 1 ? (weight.shape[0] ?? 1) : 1;
  const width = sizeOf(weight.shape) / rows;
  const step = Math.max(1, Math.floor(PIECE / width));
  const store = encoderOf(weight, rows, width, error);
  await begin(0);
  for (let row = 0; row < rows; row += step) {
    const end = Math.min(rows, row + step);
    for (const piece of pieces(row * width, end * width)) {
      const source = await read(piece);
      const values = toFloat32(source);
      checkFinite(weight, values);
      const bytes = store.piece(values, row, source);
      if (bytes !== undefined) await write(bytes);
    }
  }
  const [left, scales] = store.rest();
  if (left !== undefined) await write(left);
  if (scales !== undefined) {
    await begin(1);
    await write(scales);
  }
  return error.result();
}

/** Ranges of at most one piece each; more than one only where a single row is larger. */
function* pieces(from: number, to: number): Generator<ElementRange> {
  for (let at = from; at < to; at += PIECE) yield { from: at, to: Math.min(to, at + PIECE) };
}

interface Encoder {
  /** @param row the first row that `values` hold. */
  piece(values: Float32Array, row: number, source: SafeTensor): Uint8Array | undefined;
  /** Values kept to the end, and scales. */
  rest(): readonly [Uint8Array | undefined, Uint8Array | undefined];
}

function encoderOf(weight: StoredWeight, rows: number, width: number, error: ErrorSum): Encoder {
  switch (weight.format) {
    case 'float32':
      return { piece: (values) => raw(values), rest: () => [undefined, undefined] };
    case 'float16':
      return halves(weight, error);
    case 'int8':
      return columns(rows, width, error);
    case 'int4':
      return blocks(weight, width, error);
  }
}

function halves(weight: StoredWeight, error: ErrorSum): Encoder {
  return {
    piece(values, _row, { dtype, data }) {
      if (dtype === 'F16') {
        error.exact(values);
        return raw(data);
      }
      const out = new Uint16Array(values.length);
      values.forEach((value, i) => {
        const bits = toHalf(value);
        out[i] = bits;
        const stored = fromHalf(bits);
        if (!Number.isFinite(stored)) {
          throw new ExportError(weight.name, `holds ${value}, more than float16 does`);
        }
        error.add(value, stored);
      });
      return raw(out);
    },
    rest: () => [undefined, undefined],
  };
}

/** int8, turned to [in, out] as the runtime's operator reads it: one byte an element stays in memory. */
function columns(rows: number, width: number, error: ErrorSum): Encoder {
  const data = new Int8Array(rows * width);
  const scales = new Float32Array(rows);
  return {
    piece(values, row) {
      const count = values.length / width;
      const turned = new Float32Array(values.length);
      for (let r = 0; r < count; r += 1) {
        for (let i = 0; i < width; i += 1) turned[i * count + r] = values[r * width + i]!;
      }
      const part = quantizeColumns(turned, [width, count]);
      scales.set(part.scales, row);
      for (let i = 0; i < width; i += 1) {
        data.set(part.data.subarray(i * count, (i + 1) * count), i * rows + row);
      }
      turned.forEach((value, n) => {
        error.add(value, part.data[n]! * part.scales[n % count]!);
      });
      return undefined;
    },
    rest: () => [raw(data), raw(scales)],
  };
}

function blocks(weight: StoredWeight, width: number, error: ErrorSum): Encoder {
  const half = weight.parts[1]?.dtype === 'float16';
  const scales: Float32Array[] = [];
  const round = half ? (scale: number) => fromHalf(toHalf(scale)) : Math.fround;
  const each = Math.ceil(width / BLOCK);
  return {
    piece(values) {
      const part = quantizeBlocks(values, [values.length / width, width], 4, BLOCK, round);
      scales.push(part.scales);
      values.forEach((value, n) => {
        const [row, column] = [Math.floor(n / width), n % width];
        const block = row * each + Math.floor(column / BLOCK);
        const at = block * BLOCK + (column % BLOCK);
        const level = (part.data[at >> 1]! >> (4 * (at & 1))) & 15;
        error.add(value, (level - 8) * part.scales[block]!);
      });
      return part.data;
    },
    rest() {
      const all = new Float32Array(scales.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of scales) {
        all.set(part, at);
        at += part.length;
      }
      return [undefined, raw(half ? Uint16Array.from(all, toHalf) : all)];
    },
  };
}

class ErrorSum {
  private largest = 0;
  private difference = 0;
  private squares = 0;
  private differences = 0;

  add(value: number, stored: number): void {
    const off = Math.abs(value - stored);
    if (off > this.difference) this.difference = off;
    const size = Math.abs(value);
    if (size > this.largest) this.largest = size;
    this.squares += value * value;
    this.differences += off * off;
  }

  exact(values: Float32Array): void {
    for (const value of values) this.add(value, value);
  }

  result(): WeightError {
    if (this.squares === 0) return { max: 0, rms: 0 };
    return {
      max: this.difference / this.largest,
      rms: Math.sqrt(this.differences / this.squares),
    };
  }
}

function checkFinite(weight: StoredWeight, values: Float32Array): void {
  for (const value of values) {
    if (!Number.isFinite(value)) throw new ExportError(weight.name, `holds ${value}`);
  }
}

function raw(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
