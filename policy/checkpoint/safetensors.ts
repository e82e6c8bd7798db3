import { fromBfloat, toBfloat, toHalf, fromHalf } from '../tensor/index.ts';

/** The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes. */

/** Element types read and written. */
export type SafeDType = 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'U8' | 'I8' | 'BOOL';

/** A stored tensor; F16 and BF16 are raw bits in Uint16Array. */
export interface SafeTensor {
  readonly dtype: SafeDType;
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array | Int32Array | Uint16Array | Uint8Array | Int8Array;
}

export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The bytes are not a safetensors file, or hold what is not supported; names the tensor where there is one. */
export class SafetensorsError extends Error {
  constructor(message: string) {
    super(`safetensors: ${message}`);
    this.name = 'SafetensorsError';
  }
}

const arrays = {
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  U8: Uint8Array,
  I8: Int8Array,
  BOOL: Uint8Array,
} as const;

/** Largest header that is read: what the reference implementation allows. */
const HEADER_LIMIT = 100_000_000;

interface Entry {
  readonly dtype: SafeDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** Reads a whole file. Tensors are copies, aligned, independent of `bytes`. Throws SafetensorsError. */
export function readSafetensors(bytes: Uint8Array): SafetensorsFile {
  const { entries, metadata, start } = readHeader(bytes);
  const tensors = new Map<string, SafeTensor>();
  for (const [name, entry] of entries) tensors.set(name, tensorAt(bytes, start, entry));
  return { tensors, metadata };
}

/** The header alone: names, types and shapes, without touching the tensors. Throws SafetensorsError. */
export function listSafetensors(
  bytes: Uint8Array,
): ReadonlyMap<string, { readonly dtype: SafeDType; readonly shape: readonly number[] }> {
  return readHeader(bytes).entries;
}

function tensorAt(bytes: Uint8Array, start: number, entry: Entry): SafeTensor {
  const Type = arrays[entry.dtype];
  const data = new Type((entry.end - entry.begin) / Type.BYTES_PER_ELEMENT);
  new Uint8Array(data.buffer).set(bytes.subarray(start + entry.begin, start + entry.end));
  return { dtype: entry.dtype, shape: entry.shape, data };
}

function readHeader(bytes: Uint8Array): {
  entries: Map<string, Entry>;
  metadata: Record<string, string>;
  start: number;
} {
  if (bytes.byteLength < 8) throw new SafetensorsError('shorter than its header length');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  if (length > HEADER_LIMIT || 8 + length > bytes.byteLength) {
    throw new SafetensorsError(`a header of ${length} bytes does not fit`);
  }
  const header = parseHeader(bytes.subarray(8, 8 + length));
  const start = 8 + length;
  const room = bytes.byteLength - start;
  const entries = new Map<string, Entry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = metadataOf(value);
    else entries.set(name, entryOf(name, value, room));
  }
  checkCover([...entries.values()], room);
  return { entries, metadata, start };
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new SafetensorsError(`the header is no JSON: ${String(error)}`);
  }
  if (!isRecord(header)) throw new SafetensorsError('the header is no object');
  return header;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSafeDType(value: unknown): value is SafeDType {
  return typeof value === 'string' && Object.hasOwn(arrays, value);
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(isSize);
}

function metadataOf(value: unknown): Record<string, string> {
  if (!isRecord(value)) throw new SafetensorsError('the metadata is no object');
  const texts = Object.entries(value).map(([key, text]): [string, string] => {
    if (typeof text !== 'string') throw new SafetensorsError(`metadata ${key} is no text`);
    return [key, text];
  });
  return Object.fromEntries(texts);
}

function entryOf(name: string, value: unknown, room: number): Entry {
  if (!isRecord(value)) throw new SafetensorsError(`${name} has no description`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isSafeDType(dtype))
    throw new SafetensorsError(`${name} has type ${String(dtype)}, not supported`);
  if (!isSizes(shape)) throw new SafetensorsError(`${name} has no valid shape`);
  const [begin, end] = isSizes(offsets) ? offsets : [];
  if (begin === undefined || end === undefined || begin > end || end > room) {
    throw new SafetensorsError(`${name} lies outside the file`);
  }
  const size = shape.reduce((a, b) => a * b, 1) * arrays[dtype].BYTES_PER_ELEMENT;
  if (size !== end - begin)
    throw new SafetensorsError(`${name} has ${end - begin} bytes, not ${size}`);
  return { dtype, shape, begin, end };
}

/** The tensors must follow each other without gaps or overlaps, as the format demands. */
function checkCover(entries: readonly Entry[], room: number): void {
  let at = 0;
  for (const entry of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin !== at) throw new SafetensorsError('the tensors overlap or leave gaps');
    at = entry.end;
  }
  if (at !== room) throw new SafetensorsError('there are bytes behind the tensors');
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
    return Float32Array.from(data, dtype === 'BF16' ? fromBfloat : fromHalf);
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
