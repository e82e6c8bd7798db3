import { fromBfloat, fromHalf, toBfloat, toHalf } from '../tensor/index.ts';
import {
  PREFIX_BYTES,
  SafetensorsError,
  arrays,
  headerEnd,
  readHeader,
  tensorOf,
  type Entry,
  type Header,
  type SafeTensor,
} from './safetensors-header.ts';

/** Whole safetensors files as bytes: read, listed and written. */

export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Reads a whole file. Tensors are copies, aligned, independent of `bytes`. Throws SafetensorsError. */
export function readSafetensors(bytes: Uint8Array): SafetensorsFile {
  const { entries, metadata, start } = headerOf(bytes);
  const tensors = new Map<string, SafeTensor>();
  for (const [name, entry] of entries) {
    tensors.set(name, tensorOf(entry, bytes.subarray(start + entry.begin, start + entry.end)));
  }
  return { tensors, metadata };
}

/** The header alone: names, types and shapes, without touching the tensors. Throws SafetensorsError. */
export function listSafetensors(bytes: Uint8Array): ReadonlyMap<string, Entry> {
  return headerOf(bytes).entries;
}

function headerOf(bytes: Uint8Array): Header {
  const end = headerEnd(bytes, bytes.byteLength);
  return readHeader(bytes.subarray(PREFIX_BYTES, end), bytes.byteLength);
}

/**
 * Writes a file. The same tensors give the same bytes whatever their order in the map: wide types
 * come first, then by name, as the reference implementation orders them.
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, SafeTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const width = (t: SafeTensor) => arrays[t.dtype].BYTES_PER_ELEMENT;
  const order = [...tensors].sort(
    ([a, x], [b, y]) => width(y) - width(x) || (a < b ? -1 : a > b ? 1 : 0),
  );
  const keys = Object.keys(metadata).sort();
  const header: Record<string, unknown> = {};
  if (keys.length > 0)
    header['__metadata__'] = Object.fromEntries(keys.map((k) => [k, metadata[k]]));
  let at = 0;
  for (const [name, t] of order) {
    checkTensor(name, t);
    header[name] = { dtype: t.dtype, shape: t.shape, data_offsets: [at, at + t.data.byteLength] };
    at += t.data.byteLength;
  }
  const text = JSON.stringify(header);
  const encoded = new TextEncoder().encode(text);
  const length = Math.ceil(encoded.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + at);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.fill(0x20, 8, 8 + length);
  bytes.set(encoded, 8);
  let position = 8 + length;
  for (const [, t] of order) {
    bytes.set(new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength), position);
    position += t.data.byteLength;
  }
  return bytes;
}

function checkTensor(name: string, t: SafeTensor): void {
  const size = t.shape.reduce((a, b) => a * b, 1);
  if (name === '__metadata__') throw new SafetensorsError('__metadata__ is no name for a tensor');
  if (!(t.data instanceof arrays[t.dtype]) || t.data.length !== size) {
    throw new SafetensorsError(
      `${name}: ${t.dtype} [${t.shape.join(', ')}] and its array do not fit`,
    );
  }
}

/** The elements as float32 numbers, whatever float type they are stored in. Throws for whole numbers. */
export function toFloat32(tensor: SafeTensor): Float32Array {
  const { dtype, data } = tensor;
  if (data instanceof Float32Array) return data;
  if (data instanceof Uint16Array) {
    const read = dtype === 'BF16' ? fromBfloat : fromHalf;
    const out = new Float32Array(data.length);
    // Not Float32Array.from: its iteration takes several times as long.
    data.forEach((bits, i) => {
      out[i] = read(bits);
    });
    return out;
  }
  throw new SafetensorsError(`${dtype} holds no float numbers`);
}

/** A float32 array as a tensor of any float type, rounded to nearest even. */
export function fromFloat32(
  data: Float32Array,
  shape: readonly number[],
  dtype: 'F32' | 'F16' | 'BF16',
): SafeTensor {
  if (dtype === 'F32') return { dtype, shape, data };
  return { dtype, shape, data: Uint16Array.from(data, dtype === 'BF16' ? toBfloat : toHalf) };
}
