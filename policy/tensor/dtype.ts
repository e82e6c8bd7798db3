/** Element types a tensor may have. */
export type DType = 'float32' | 'float16' | 'int64' | 'int32' | 'uint8' | 'int8' | 'bool';

/** Arrays that hold tensor elements: float16 as raw bits in Uint16Array, bool as 0/1 in Uint8Array. */
export type TensorData =
  Float32Array | BigInt64Array | Int32Array | Uint8Array | Int8Array | Uint16Array;

/** ONNX TensorProto.DataType. */
export const onnxType: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
};

/** Bytes an element takes. */
export const elementBytes: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  int64: 8,
  int32: 4,
  uint8: 1,
  int8: 1,
  bool: 1,
};

/** True for the types that carry gradients. */
export function isFloat(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float16';
}
