/** The head of a safetensors file: 8 bytes of header length, then a JSON header that names every tensor. */

/** Element types read and written. */
export type SafeDType = 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'U8' | 'I8' | 'BOOL';

/** A stored tensor; F16 and BF16 are raw bits in Uint16Array. */
export interface SafeTensor {
  readonly dtype: SafeDType;
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array | Int32Array | Uint16Array | Uint8Array | Int8Array;
}

/** The bytes are not a safetensors file, or hold what is not supported; names the tensor where there is one. */
export class SafetensorsError extends Error {
  constructor(message: string) {
    super(`safetensors: ${message}`);
    this.name = 'SafetensorsError';
  }
}

/** The array that holds each type's elements. */
export const arrays = {
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

/** A tensor's place, in bytes behind the header. */
export interface Entry {
  readonly dtype: SafeDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** Bytes before the header: its length as a little-endian whole number. */
export const PREFIX_BYTES = 8;

export interface Header {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Where the tensors' bytes begin in the file. */
  readonly start: number;
}

/**
 * Where the header ends, from the file's first 8 bytes.
 * @param size bytes of the whole file
 * @throws SafetensorsError when the file is too short for it, or it is larger than 100 MB.
 */
export function headerEnd(prefix: Uint8Array, size: number): number {
  if (size < PREFIX_BYTES || prefix.byteLength < PREFIX_BYTES) {
    throw new SafetensorsError('shorter than its header length');
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES);
  const length = Number(view.getBigUint64(0, true));
  if (length > HEADER_LIMIT || PREFIX_BYTES + length > size) {
    throw new SafetensorsError(`a header of ${length} bytes does not fit`);
  }
  return PREFIX_BYTES + length;
}

/**
 * The header's JSON.
 * @param json its bytes, without the prefix
 * @param size bytes of the whole file
 * @throws SafetensorsError when it is no header, or its tensors do not cover the rest of the file.
 */
export function readHeader(json: Uint8Array, size: number): Header {
  const header = parseHeader(json);
  const start = PREFIX_BYTES + json.byteLength;
  const room = size - start;
  const entries = new Map<string, Entry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = metadataOf(value);
    else entries.set(name, entryOf(name, value, room));
  }
  checkCover([...entries.values()], room);
  return { entries, metadata, start };
}

/** A tensor from its own bytes, in aligned memory of its own. */
export function tensorOf(entry: Entry, bytes: Uint8Array): SafeTensor {
  const Type = arrays[entry.dtype];
  const data = new Type((entry.end - entry.begin) / Type.BYTES_PER_ELEMENT);
  new Uint8Array(data.buffer).set(bytes);
  return { dtype: entry.dtype, shape: entry.shape, data };
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
