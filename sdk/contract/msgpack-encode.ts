import { invalidFrame, type FramePath } from './frame-path.ts';
import { Ndarray } from './ndarray.ts';
import { Float64, NumpyScalar, TextArray } from './numpy-values.ts';

const encoder = new TextEncoder();
const MARKERS = new Map(
  ['__ndarray__', '__npgeneric__', 'data', 'dtype', 'shape'].map((name) => [
    name,
    encoder.encode(name),
  ]),
);
/** Text up to this long is written character by character where it is ASCII. */
const SHORT = 32;
const UINT64_END = 2n ** 64n;
const INT64_MIN = -(2n ** 63n);

/**
 * Writes one value as msgpack in openpi's layout: integers in their shortest form, every other
 * number as float64, `Uint8Array` as bin, arrays and numpy scalars as marker maps with bin keys.
 * Object fields that are `undefined` are left out.
 */
export class MsgpackWriter {
  private bytes = new Uint8Array(1024);
  private view = new DataView(this.bytes.buffer);
  private length = 0;
  private readonly path: FramePath = [];
  private readonly maxDepth: number;

  constructor(maxDepth: number) {
    this.maxDepth = maxDepth;
  }

  /** The bytes written so far. */
  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  /** @throws ArmatureError `invalid_frame` for a value that the wire does not carry. */
  write(value: unknown, depth = 0): void {
    if (depth > this.maxDepth) throw this.fail(`is nested deeper than ${this.maxDepth}`);
    if (value === null) this.byte(0xc0);
    else if (typeof value === 'boolean') this.byte(value ? 0xc3 : 0xc2);
    else if (typeof value === 'number') this.number(value);
    else if (typeof value === 'bigint') this.integer(value);
    else if (typeof value === 'string') this.text(value);
    else if (value instanceof Uint8Array) this.binary(value);
    else if (value instanceof Float64) this.float(value.value);
    else if (value instanceof Ndarray || value instanceof TextArray) this.array(value);
    else if (value instanceof NumpyScalar) this.scalar(value, depth);
    else if (Array.isArray(value)) this.list(value, depth);
    else if (isPlainObject(value)) this.map(value, depth);
    else throw this.fail(`${describe(value)} cannot travel in a frame`);
  }

  private number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) this.safeInteger(value);
    else this.float(value);
  }

  private safeInteger(value: number): void {
    if (value >= 0) {
      if (value < 0x80) this.byte(value);
      else if (value < 0x100) this.tagged(0xcc, 1, value);
      else if (value < 0x10000) this.tagged(0xcd, 2, value);
      else if (value < 0x100000000) this.tagged(0xce, 4, value);
      else this.integer(BigInt(value));
    } else if (value >= -0x20) this.byte(value & 0xff);
    else if (value >= -0x80) this.tagged(0xd0, 1, value & 0xff);
    else if (value >= -0x8000) this.tagged(0xd1, 2, value & 0xffff);
    else if (value >= -0x80000000) this.tagged(0xd2, 4, value >>> 0);
    else this.integer(BigInt(value));
  }

  private integer(value: bigint): void {
    if (value >= -0x80000000n && value < 0x100000000n) return this.safeInteger(Number(value));
    if (value < INT64_MIN || value >= UINT64_END) throw this.fail('integer does not fit 64 bits');
    const at = this.reserve(9);
    this.view.setUint8(at, value < 0n ? 0xd3 : 0xcf);
    this.view.setBigUint64(at + 1, BigInt.asUintN(64, value));
  }

  private float(value: number): void {
    const at = this.reserve(9);
    this.view.setUint8(at, 0xcb);
    this.view.setFloat64(at + 1, value);
  }

  private text(value: string): void {
    if (value.length < SHORT && this.ascii(value)) return;
    if (/\p{Surrogate}/u.test(value)) throw this.fail('text holds half of a surrogate pair');
    const bytes = encoder.encode(value);
    if (bytes.length < 0x20) this.byte(0xa0 | bytes.length);
    else this.sized([0xd9, 0xda, 0xdb], bytes.length);
    this.raw(bytes);
  }

  /** Writes short ASCII text; false, and nothing written, for any other. */
  private ascii(value: string): boolean {
    const at = this.reserve(1 + value.length);
    this.bytes[at] = 0xa0 | value.length;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) {
        this.length = at;
        return false;
      }
      this.bytes[at + 1 + i] = code;
    }
    return true;
  }

  private binary(value: Uint8Array): void {
    this.sized([0xc4, 0xc5, 0xc6], value.byteLength);
    this.raw(value);
  }

  private array(value: Ndarray | TextArray): void {
    this.byte(0x84);
    this.key('__ndarray__');
    this.byte(0xc3);
    this.key('data');
    this.binary(value.data);
    this.key('dtype');
    this.text(value.dtype);
    this.key('shape');
    this.count(value.shape.length, 0x90, 0xdc);
    for (const size of value.shape) this.safeInteger(size);
  }

  private scalar(value: NumpyScalar, depth: number): void {
    this.byte(0x83);
    this.key('__npgeneric__');
    this.byte(0xc3);
    this.key('data');
    this.write(value.value, depth + 1);
    this.key('dtype');
    this.text(value.dtype);
  }

  private list(items: readonly unknown[], depth: number): void {
    this.count(items.length, 0x90, 0xdc);
    items.forEach((item, index) => {
      this.path.push(index);
      this.write(item, depth + 1);
      this.path.pop();
    });
  }

  private map(object: Readonly<Record<string, unknown>>, depth: number): void {
    const entries = Object.entries(object).filter(([, value]) => value !== undefined);
    this.count(entries.length, 0x80, 0xde);
    for (const [key, value] of entries) {
      this.path.push(key);
      this.text(key);
      this.write(value, depth + 1);
      this.path.pop();
    }
  }

  private key(name: string): void {
    this.binary(MARKERS.get(name) ?? encoder.encode(name));
  }

  private count(length: number, fixed: number, tag16: number): void {
    if (length < 0x10) this.byte(fixed | length);
    else if (length < 0x10000) this.tagged(tag16, 2, length);
    else this.tagged(tag16 + 1, 4, length);
  }

  private sized(tags: readonly [number, number, number], length: number): void {
    if (length < 0x100) this.tagged(tags[0], 1, length);
    else if (length < 0x10000) this.tagged(tags[1], 2, length);
    else this.tagged(tags[2], 4, length);
  }

  private tagged(tag: number, width: 1 | 2 | 4, value: number): void {
    const at = this.reserve(1 + width);
    this.view.setUint8(at, tag);
    if (width === 1) this.view.setUint8(at + 1, value);
    else if (width === 2) this.view.setUint16(at + 1, value);
    else this.view.setUint32(at + 1, value);
  }

  private byte(value: number): void {
    const at = this.reserve(1);
    this.view.setUint8(at, value);
  }

  private raw(bytes: Uint8Array): void {
    const at = this.reserve(bytes.byteLength);
    this.bytes.set(bytes, at);
  }

  private reserve(size: number): number {
    const at = this.length;
    const needed = at + size;
    if (needed > this.bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
      this.view = new DataView(grown.buffer);
    }
    this.length = needed;
    return at;
  }

  private fail(message: string): Error {
    return invalidFrame(
      this.path,
      message,
      'Send null, truth values, numbers, text, bytes, arrays, lists and plain objects.',
    );
  }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  if (typeof value === 'object' && value !== null) return `a ${value.constructor.name}`;
  return value === undefined ? 'undefined' : `a ${typeof value}`;
}
