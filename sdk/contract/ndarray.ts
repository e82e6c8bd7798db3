import * as z from 'zod';
import { halfToNumber } from './half.ts';

/**
 * numpy `dtype.str` values that the codec carries as numbers, with the bytes of one element.
 * Armature writes little endian; big endian is read, and written back as it came.
 */
export const ndarrayDtypes = {
  '|u1': 1,
  '|i1': 1,
  '|b1': 1,
  '<i2': 2,
  '<u2': 2,
  '<i4': 4,
  '<u4': 4,
  '<i8': 8,
  '<u8': 8,
  '<f2': 2,
  '<f4': 4,
  '<f8': 8,
  '>i2': 2,
  '>u2': 2,
  '>i4': 4,
  '>u4': 4,
  '>i8': 8,
  '>u8': 8,
  '>f2': 2,
  '>f4': 4,
  '>f8': 8,
} as const;
export type NdarrayDtype = keyof typeof ndarrayDtypes;

/** An n-dimensional array on the wire: C order, in the byte order that its dtype names. */
export class Ndarray {
  readonly dtype: NdarrayDtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;

  /** @throws RangeError when the bytes do not fit shape and dtype. */
  constructor(dtype: NdarrayDtype, shape: readonly number[], data: Uint8Array) {
    const count = shape.reduce((product, size) => product * size, 1);
    if (data.byteLength !== count * ndarrayDtypes[dtype]) {
      throw new RangeError(
        `array of ${dtype} [${shape.join(', ')}] needs ${count * ndarrayDtypes[dtype]} bytes, got ${data.byteLength}`,
      );
    }
    this.dtype = dtype;
    this.shape = shape;
    this.data = data;
  }

  static float32(values: Float32Array, shape: readonly number[] = [values.length]): Ndarray {
    return new Ndarray('<f4', shape, bytesOf(values));
  }

  static uint8(values: Uint8Array, shape: readonly number[]): Ndarray {
    return new Ndarray('|u1', shape, values);
  }

  /** The elements as float32, whatever dtype they travelled in; a copy of the frame's bytes. */
  toFloat32(): Float32Array {
    const view = new DataView(this.data.buffer, this.data.byteOffset, this.data.byteLength);
    const read = readers[this.dtype];
    const size = ndarrayDtypes[this.dtype];
    const values = new Float32Array(this.data.byteLength / size);
    for (let i = 0; i < values.length; i++) values[i] = read(view, i * size);
    return values;
  }
}

type Reader = (view: DataView, offset: number) => number;
const readers: Record<NdarrayDtype, Reader> = {
  '|u1': (view, offset) => view.getUint8(offset),
  '|i1': (view, offset) => view.getInt8(offset),
  '|b1': (view, offset) => (view.getUint8(offset) === 0 ? 0 : 1),
  '<i2': (view, offset) => view.getInt16(offset, true),
  '<u2': (view, offset) => view.getUint16(offset, true),
  '<i4': (view, offset) => view.getInt32(offset, true),
  '<u4': (view, offset) => view.getUint32(offset, true),
  '<i8': (view, offset) => Number(view.getBigInt64(offset, true)),
  '<u8': (view, offset) => Number(view.getBigUint64(offset, true)),
  '<f2': (view, offset) => halfToNumber(view.getUint16(offset, true)),
  '<f4': (view, offset) => view.getFloat32(offset, true),
  '<f8': (view, offset) => view.getFloat64(offset, true),
  '>i2': (view, offset) => view.getInt16(offset, false),
  '>u2': (view, offset) => view.getUint16(offset, false),
  '>i4': (view, offset) => view.getInt32(offset, false),
  '>u4': (view, offset) => view.getUint32(offset, false),
  '>i8': (view, offset) => Number(view.getBigInt64(offset, false)),
  '>u8': (view, offset) => Number(view.getBigUint64(offset, false)),
  '>f2': (view, offset) => halfToNumber(view.getUint16(offset, false)),
  '>f4': (view, offset) => view.getFloat32(offset, false),
  '>f8': (view, offset) => view.getFloat64(offset, false),
};

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

export const ndarraySchema = z.instanceof(Ndarray, { error: 'must be a numpy-style array' });
