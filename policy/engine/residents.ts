import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { DType, TensorData } from '../tensor/index.ts';
import { EngineError } from './errors.ts';
import { emptyData } from './value.ts';
import type { Value, Values } from './value.ts';

/** A carried tensor's two buffers. */
export interface Pair {
  readonly now: OrtTensor;
  readonly next: OrtTensor;
}

/** Tensors that stay in the worker thread: key → name → tensor. */
export class Residents {
  private readonly kept = new Map<string, Map<string, OrtTensor>>();
  private readonly spare = new Map<string, Map<string, OrtTensor>>();

  put(key: string, values: Values): void {
    this.drop(key);
    const tensors = Object.entries(values).map(([n, v]): [string, OrtTensor] => [n, toOrt(v)]);
    this.kept.set(key, new Map(tensors));
  }

  /** Overwrites elements from `offset` on. */
  patch(key: string, name: string, offset: number, data: TensorData): void {
    const whole = dataOf(this.find(key, name));
    if (
      whole.constructor !== data.constructor ||
      offset < 0 ||
      offset + data.length > whole.length
    ) {
      throw new EngineError(
        'bad_value',
        `${key}/${name}: ${data.length} elements at ${offset} do not fit`,
      );
    }
    bytesOf(whole).set(bytesOf(data), offset * whole.BYTES_PER_ELEMENT);
  }

  drop(key: string): void {
    this.kept.delete(key);
    this.spare.delete(key);
  }

  clear(): void {
    this.kept.clear();
    this.spare.clear();
  }

  /** The tensor at 'key/name'. */
  get(address: string, session?: string): OrtTensor {
    const [key, name] = parts(address);
    return this.find(key, name, session);
  }

  /** Keeps a tensor at 'key/name'. */
  set(address: string, tensor: OrtTensor): void {
    const [key, name] = parts(address);
    const tensors = this.kept.get(key) ?? new Map<string, OrtTensor>();
    tensors.set(name, tensor);
    this.kept.set(key, tensors);
  }

  /** Copies of the tensors under a key. */
  read(key: string, names: readonly string[] | undefined): Values {
    const tensors = this.kept.get(key);
    if (tensors === undefined)
      throw new EngineError('unknown_resident', `nothing is kept as ${key}`);
    const wanted = names ?? [...tensors.keys()];
    return Object.fromEntries(
      wanted.map((name) => {
        const { dtype, shape, data } = toValue(this.find(key, name));
        return [name, { dtype, shape, data: data.slice() }];
      }),
    );
  }

  /** For each name the tensor kept and a second buffer like it. */
  doubled(key: string, names: readonly string[]): Map<string, Pair> {
    const spare = this.spare.get(key) ?? new Map<string, OrtTensor>();
    this.spare.set(key, spare);
    const pairs = names.map((name): [string, Pair] => {
      const now = this.find(key, name);
      const value = toValue(now);
      const next =
        spare.get(name) ?? toOrt({ ...value, data: emptyData(value.dtype, value.shape) });
      spare.set(name, next);
      return [name, { now, next }];
    });
    return new Map(pairs);
  }

  /** Makes the second buffers the tensors kept. */
  turn(key: string, pairs: ReadonlyMap<string, Pair>): void {
    for (const [name, pair] of pairs) {
      this.kept.get(key)?.set(name, pair.next);
      this.spare.get(key)?.set(name, pair.now);
    }
  }

  bytes(): number {
    let sum = 0;
    for (const keys of [this.kept, this.spare]) {
      for (const tensors of keys.values()) {
        for (const tensor of tensors.values()) sum += dataOf(tensor).byteLength;
      }
    }
    return sum;
  }

  private find(key: string, name: string, session?: string): OrtTensor {
    const tensor = this.kept.get(key)?.get(name);
    if (tensor !== undefined) return tensor;
    throw new EngineError('unknown_resident', `nothing is kept as ${key}/${name}`, session);
  }
}

function parts(address: string): [string, string] {
  const at = address.lastIndexOf('/');
  if (at < 1) throw new EngineError('unknown_resident', `${address} is not of the form key/name`);
  return [address.slice(0, at), address.slice(at + 1)];
}

const dtypes: ReadonlySet<string> = new Set<DType>([
  'float32',
  'float16',
  'int64',
  'int32',
  'uint8',
  'int8',
  'bool',
]);

function isDType(type: string): type is DType {
  return dtypes.has(type);
}

/** A value as a tensor of the runtime, on the same memory. */
export function toOrt(value: Value): OrtTensor {
  return new OrtTensor(value.dtype, value.data, value.shape);
}

/** A tensor of the runtime as a value, on the same memory. */
export function toValue(tensor: OrtTensor): Value {
  if (!isDType(tensor.type))
    throw new EngineError('bad_value', `type ${tensor.type} is not supported`);
  return { dtype: tensor.type, shape: [...tensor.dims], data: dataOf(tensor) };
}

function dataOf(tensor: OrtTensor): TensorData {
  const data = tensor.data;
  const known =
    data instanceof Float32Array ||
    data instanceof BigInt64Array ||
    data instanceof Int32Array ||
    data instanceof Uint8Array ||
    data instanceof Int8Array ||
    data instanceof Uint16Array;
  if (!known)
    throw new EngineError('bad_value', `a tensor of type ${tensor.type} is not supported`);
  return data;
}

function bytesOf(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
