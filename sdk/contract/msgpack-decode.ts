import { invalidFrame, type FramePath } from './frame-path.ts';
import { Ndarray, ndarrayDtypes, type NdarrayDtype } from './ndarray.ts';
import { Float64, isTextDtype, NumpyScalar, TextArray } from './numpy-values.ts';

export interface MsgpackLimits {
  /** Deepest nesting of lists and maps. */
  maxDepth: number;
  /** Most values in one frame, all levels together: bounds what a small frame can make us allocate. */
  maxValues: number;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const asSent = 'Send one msgpack value with numpy markers, as openpi-client packs it.';
const MAX_DIMENSIONS = 32;
/** Text up to this long is read byte by byte where it is ASCII. */
const SHORT = 32;

/**
 * Reads one msgpack value. Bytes and arrays are views into the frame, nothing is copied. Every
 * length that the frame declares is checked against what is left before anything is allocated.
 * @throws ArmatureError `invalid_frame` naming the value that cannot be read.
 */
export class MsgpackReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly limits: MsgpackLimits;
  /** Keeps what JavaScript's numbers lose: floats that are whole, numpy scalars. */
  private readonly exact: boolean;
  private readonly path: FramePath = [];
  private offset = 0;
  private values = 0;

  constructor(bytes: Uint8Array, limits: MsgpackLimits, exact: boolean) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.limits = limits;
    this.exact = exact;
  }

  /** The one value that the frame holds. */
  readAll(): unknown {
    const value = this.read(0);
    const left = this.bytes.byteLength - this.offset;
    if (left > 0) throw this.fail(`${left} bytes follow the value`);
    return value;
  }

  private read(depth: number): unknown {
    if (depth > this.limits.maxDepth) {
      throw this.fail(`is nested deeper than ${this.limits.maxDepth} levels`);
    }
    this.values += 1;
    if (this.values > this.limits.maxValues) {
      throw this.fail(`the frame holds more than ${this.limits.maxValues} values`);
    }
    const tag = this.unsigned(1);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.map(tag & 0x0f, depth);
    if (tag < 0xa0) return this.list(tag & 0x0f, depth);
    if (tag < 0xc0) return this.text(tag & 0x1f);
    if (tag >= 0xe0) return tag - 0x100;
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.take(this.unsigned(widths[tag - 0xc4]));
      case 0xca:
        return this.float(this.view.getFloat32(this.advance(4)));
      case 0xcb:
        return this.float(this.view.getFloat64(this.advance(8)));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.unsigned(widths[tag - 0xcc]);
      case 0xcf:
        return whole(this.view.getBigUint64(this.advance(8)));
      case 0xd0:
        return this.view.getInt8(this.advance(1));
      case 0xd1:
        return this.view.getInt16(this.advance(2));
      case 0xd2:
        return this.view.getInt32(this.advance(4));
      case 0xd3:
        return whole(this.view.getBigInt64(this.advance(8)));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.text(this.unsigned(widths[tag - 0xd9]));
      case 0xdc:
      case 0xdd:
        return this.list(this.unsigned(tag === 0xdc ? 2 : 4), depth);
      case 0xde:
      case 0xdf:
        return this.map(this.unsigned(tag === 0xde ? 2 : 4), depth);
      case 0xc1:
        throw this.fail('byte c1 is no msgpack type');
      default:
        throw this.fail('extension types are not part of this wire');
    }
  }

  private float(value: number): number | Float64 {
    return this.exact && Number.isSafeInteger(value) ? new Float64(value) : value;
  }

  private text(length: number): string {
    const bytes = this.take(length);
    // Keys and the like, for which the way to the decoder takes longer than reading them.
    if (length <= SHORT && bytes.every((byte) => byte < 0x80)) return latin1(bytes);
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      if (cause instanceof TypeError) throw this.fail('text is not UTF-8');
      throw cause;
    }
  }

  private list(length: number, depth: number): unknown[] {
    this.expect(length, 1);
    const items: unknown[] = [];
    for (let index = 0; index < length; index++) {
      this.path.push(index);
      items.push(this.read(depth + 1));
      this.path.pop();
    }
    return items;
  }

  // A map with bin keys is numpy's marker or nothing; one with text keys is an ordinary map, also
  // where its keys spell a marker, as Python's reader has it.
  private map(length: number, depth: number): unknown {
    this.expect(length, 2);
    const texts = new Map<string, unknown>();
    const markers = new Map<string, unknown>();
    for (let entry = 0; entry < length; entry++) {
      const key = this.read(depth + 1);
      const name = key instanceof Uint8Array ? latin1(key) : key;
      if (typeof name !== 'string') throw this.fail('map keys must be text');
      const target = key instanceof Uint8Array ? markers : texts;
      this.path.push(name);
      if (target.has(name)) throw this.fail('occurs twice');
      if (name === '__proto__') throw this.fail('is no allowed key');
      target.set(name, this.read(depth + 1));
      this.path.pop();
    }
    if (markers.size === 0) return Object.fromEntries(texts);
    if (markers.has('__ndarray__')) return this.array(markers);
    if (markers.has('__npgeneric__')) return this.scalar(markers);
    throw this.fail('map keys must be text; bytes are only for numpy markers');
  }

  private array(fields: ReadonlyMap<string, unknown>): Ndarray | TextArray {
    const data = fields.get('data');
    if (!(data instanceof Uint8Array)) throw this.fail('array has no data bytes');
    const dtype = this.dtype(fields);
    const shape = this.shape(fields.get('shape'));
    try {
      if (isNumberDtype(dtype)) return new Ndarray(dtype, shape, data);
      if (isTextDtype(dtype)) return new TextArray(dtype, shape, data);
    } catch (cause) {
      if (cause instanceof RangeError) throw this.fail(cause.message);
      throw cause;
    }
    throw this.fail(`dtype ${JSON.stringify(dtype)} is not carried`);
  }

  private scalar(fields: ReadonlyMap<string, unknown>): unknown {
    if (!fields.has('data')) throw this.fail('numpy scalar has no data');
    const dtype = this.dtype(fields);
    if (!isNumberDtype(dtype) && !isTextDtype(dtype)) {
      throw this.fail(`dtype ${JSON.stringify(dtype)} is not carried`);
    }
    const value = fields.get('data');
    return this.exact ? new NumpyScalar(dtype, value) : value;
  }

  private dtype(fields: ReadonlyMap<string, unknown>): string {
    const dtype = fields.get('dtype');
    const name = dtype instanceof Uint8Array ? latin1(dtype) : dtype;
    if (typeof name !== 'string') throw this.fail('array or scalar has no dtype');
    return name.length > 32 ? `${name.slice(0, 29)}...` : name;
  }

  private shape(shape: unknown): number[] {
    if (!Array.isArray(shape)) throw this.fail('array has no shape');
    if (shape.length > MAX_DIMENSIONS) {
      throw this.fail(`array has more than ${MAX_DIMENSIONS} dimensions`);
    }
    return shape.map((size: unknown) => {
      if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
        throw this.fail('sizes in shape must be whole numbers from 0');
      }
      return size;
    });
  }

  private unsigned(width: 1 | 2 | 4 | undefined): number {
    if (width === 1) return this.view.getUint8(this.advance(1));
    if (width === 2) return this.view.getUint16(this.advance(2));
    return this.view.getUint32(this.advance(4));
  }

  private take(length: number): Uint8Array {
    const at = this.advance(length);
    return this.bytes.subarray(at, at + length);
  }

  private advance(length: number): number {
    const at = this.offset;
    const left = this.bytes.byteLength - at;
    if (length > left) {
      throw this.fail(`cut short at byte ${at}: ${length} bytes are declared, ${left} are left`);
    }
    this.offset = at + length;
    return at;
  }

  private expect(count: number, bytesEach: number): void {
    const left = this.bytes.byteLength - this.offset;
    if (count * bytesEach > left) {
      throw this.fail(`${count} entries are declared, ${left} bytes are left`);
    }
  }

  private fail(message: string): Error {
    return invalidFrame(this.path, message, asSent);
  }
}

const widths = [1, 2, 4] as const;

function whole(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function isNumberDtype(dtype: string): dtype is NdarrayDtype {
  return Object.hasOwn(ndarrayDtypes, dtype);
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 64));
}
