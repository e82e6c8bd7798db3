import type { DType, TensorData } from '../tensor/index.ts';
import { EngineError } from './errors.ts';

/** A tensor outside the runtime: float16 as raw bits in Uint16Array, bool as 0/1 in Uint8Array. */
export interface Value {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

export type Values = Readonly<Record<string, Value>>;

const arrays = {
  float32: Float32Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  bool: Uint8Array,
} as const;

/** Throws EngineError bad_value if the array is not of the type or does not fill the shape. */
export function checkValue(name: string, value: Value): void {
  const size = value.shape.reduce((a, b) => a * b, 1);
  const fits = value.data instanceof arrays[value.dtype] && value.data.length === size;
  if (fits) return;
  const got = `${value.data.constructor.name} of ${value.data.length}`;
  throw new EngineError(
    'bad_value',
    `${name}: ${value.dtype} [${value.shape.join(', ')}] needs ${arrays[value.dtype].name} of ${size}, got ${got}`,
  );
}

/** A new array for a type and shape, filled with zeros. */
export function emptyData(dtype: DType, shape: readonly number[]): TensorData {
  return new arrays[dtype](shape.reduce((a, b) => a * b, 1));
}

/** Values ready to cross to another thread, and the buffers that move with them. */
export interface Parcel {
  readonly values: Values;
  readonly transfer: ArrayBuffer[];
}

/** Packs values for another thread: copied once, or moved (then the caller's arrays become empty). */
export function pack(values: Values, move: boolean): Parcel {
  const transfer = new Set<ArrayBuffer>();
  const packed = Object.entries(values).map(([name, value]): [string, Value] => {
    checkValue(name, value);
    const whole = value.data.byteLength === value.data.buffer.byteLength;
    const owned = move && whole && value.data.buffer instanceof ArrayBuffer;
    const data = owned ? value.data : copyOf(value.data);
    if (data.buffer instanceof ArrayBuffer) transfer.add(data.buffer);
    return [name, { dtype: value.dtype, shape: [...value.shape], data }];
  });
  return { values: Object.fromEntries(packed), transfer: [...transfer] };
}

/** A copy in memory of its own (a Buffer's slice would be a view, and shared memory cannot move). */
function copyOf(data: TensorData): TensorData {
  const Type =
    data.constructor === Buffer ? Uint8Array : (data.constructor as new (n: number) => TensorData);
  const copy = new Type(data.length);
  new Uint8Array(copy.buffer).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return copy;
}
