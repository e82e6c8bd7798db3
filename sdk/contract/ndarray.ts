import { z } from 'zod';

/** numpy `dtype.str` values that the codec carries, with the bytes of one element. */
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
} as const;
export type NdarrayDtype = keyof typeof ndarrayDtypes;

/** An n-dimensional array on the wire: C order, little endian. */
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

  /**
   * The elements as float32, whatever float or integer dtype they travelled in.
   * @throws RangeError for a dtype that has no number values.
   */
  toFloat32(): Float32Array {
    const view = new DataView(this.data.buffer, this.data.byteOffset, this.data.byteLength);
    const read = readers[this.dtype];
    if (read === undefined) throw new RangeError(`array of ${this.dtype} holds no plain numbers`);
    const size = ndarrayDtypes[this.dtype];
    return Float32Array.from({ length: this.data.byteLength / size }, (_, i) =>
      read(view, i * size),
    );
  }
}

const readers: Partial<Record<NdarrayDtype, (view: DataView, offset: number) => number>> = {
  '|u1': (view, offset) => view.getUint8(offset),
  '|i1': (view, offset) => view.getInt8(offset),
  '<i2': (view, offset) => view.getInt16(offset, true),
  '<u2': (view, offset) => view.getUint16(offset, true),
  '<i4': (view, offset) => view.getInt32(offset, true),
  '<u4': (view, offset) => view.getUint32(offset, true),
  '<i8': (view, offset) => Number(view.getBigInt64(offset, true)),
  '<f4': (view, offset) => view.getFloat32(offset, true),
  '<f8': (view, offset) => view.getFloat64(offset, true),
};

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

export const ndarraySchema = z.instanceof(Ndarray);
