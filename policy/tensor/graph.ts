import { elementBytes } from './dtype.ts';
import type { DType, TensorData } from './dtype.ts';
import { ShapeError } from './errors.ts';
import { toHalf } from './half.ts';

/** A value in a graph. Dimensions are fixed, except -1 (not known beforehand) inside a loop body. */
export interface Tensor {
  readonly graph: Graph;
  readonly id: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export type Attribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly ints: readonly number[] }
  | { readonly text: string }
  | { readonly graph: Graph };

/** One ONNX node. An absent optional input is undefined. */
export interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly (Tensor | undefined)[];
  readonly outputs: readonly Tensor[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** Part of a tensor's gradient: `value` lies at `start` along `axis`, the rest is zero. */
export interface Piece {
  readonly axis: number;
  readonly start: number;
  readonly value: Tensor;
}

export type Gradient = Tensor | Piece;

/**
 * Vector-Jacobian product: from the gradients of the outputs (undefined: zero) to those of the inputs,
 * in their order; `needed[i]` says whether input i's is wanted.
 */
export type Vjp = (
  upstream: readonly (Tensor | undefined)[],
  needed: readonly boolean[],
) => readonly (Gradient | undefined)[];

/** Where a tensor came from, as differentiation sees it: a composite operation is one origin. */
export interface Origin {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly vjp: Vjp;
}

export interface OutputSpec {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface Constant {
  readonly tensor: Tensor;
  readonly data: TensorData;
}

/** A constant whose bytes lie in a file beside the model. */
export interface External {
  readonly name: string;
  readonly tensor: Tensor;
}

/** Elements of a constant up to which equal constants are one. */
const SHARED_LIMIT = 1 << 14;

/** A tensor graph under construction. Operations append nodes; `toOnnx` writes what the outputs need. */
export class Graph {
  readonly name: string;
  readonly parent: Graph | undefined;
  /** Only ever run forward: operations then take the form of fewest nodes, not that of the best gradient. */
  readonly inference: boolean;
  readonly nodes: Node[] = [];
  readonly inputs: { readonly name: string; readonly tensor: Tensor }[] = [];
  readonly outputs: { readonly name: string; readonly tensor: Tensor }[] = [];
  readonly constants = new Map<number, Constant>();
  readonly externals: External[] = [];
  readonly origins = new Map<number, Origin>();
  private readonly shared = new Map<string, Tensor>();
  /** Names of inputs, outputs and externals. */
  private readonly taken = new Set<string>();
  private nextId = 0;

  /** `parent` is given for the body of a loop, which may use the parent's tensors. */
  constructor(name = 'graph', parent?: Graph, options: { readonly inference?: boolean } = {}) {
    this.name = name;
    this.parent = parent;
    this.inference = parent?.inference ?? options.inference ?? false;
  }

  /** The outermost graph. */
  get root(): Graph {
    return this.parent === undefined ? this : this.parent.root;
  }

  /** How many graphs surround this one. */
  get depth(): number {
    return this.parent === undefined ? 0 : this.parent.depth + 1;
  }

  /** A graph input. Throws ShapeError if the name is taken or a dimension is not a whole number ≥ 0. */
  input(name: string, dtype: DType, shape: readonly number[]): Tensor {
    if (this.taken.has(name)) throw new ShapeError('input', `the name ${name} is taken`);
    const least = this.parent === undefined ? 0 : -1;
    if (shape.some((d) => !Number.isInteger(d) || d < least)) {
      throw new ShapeError('input', `${name} has a dimension that is no size`, [shape]);
    }
    const tensor = this.tensor(dtype, shape);
    this.taken.add(name);
    this.inputs.push({ name, tensor });
    return tensor;
  }

  /**
   * A constant. A single number is a scalar unless `shape` says otherwise (then it fills the shape);
   * numbers are float32 unless `dtype` says otherwise. Small equal constants are one tensor.
   */
  constant(
    data: TensorData | readonly number[] | number,
    shape?: readonly number[],
    dtype?: DType,
  ): Tensor {
    const type = dtype ?? dtypeOf(data);
    const dims = shape ?? (typeof data === 'number' ? [] : [data.length]);
    const size = dims.reduce((a, b) => a * b, 1);
    const elements = elementsOf(data, size, type);
    if (elements.length !== size) {
      throw new ShapeError('constant', `${elements.length} elements do not fill the shape`, [dims]);
    }
    const key = size <= SHARED_LIMIT ? `${type}|${dims.join()}|${elements.join()}` : undefined;
    const known = key === undefined || hasNegativeZero(elements) ? undefined : this.shared.get(key);
    if (known !== undefined) return known;
    const tensor = this.tensor(type, dims);
    this.constants.set(tensor.id, { tensor, data: elements });
    if (key !== undefined && !hasNegativeZero(elements)) this.shared.set(key, tensor);
    return tensor;
  }

  /**
   * A constant whose bytes lie in a file beside the model: `toOnnx` is told where. It belongs to the
   * outermost graph, and loops read it there. Throws ShapeError if the name is taken.
   */
  external(name: string, dtype: DType, shape: readonly number[]): Tensor {
    const { root } = this;
    if (root.taken.has(name)) throw new ShapeError('external', `the name ${name} is taken`);
    const tensor = root.tensor(dtype, shape);
    root.taken.add(name);
    root.externals.push({ name, tensor });
    return tensor;
  }

  /** Names a result. Throws ShapeError if the name is taken. */
  output(name: string, tensor: Tensor): void {
    if (this.taken.has(name)) throw new ShapeError('output', `the name ${name} is taken`);
    this.taken.add(name);
    this.outputs.push({ name, tensor });
  }

  /** Appends an ONNX node as it is; `vjp` makes it differentiable in its present inputs. */
  node(
    op: string,
    inputs: readonly (Tensor | undefined)[],
    outputs: readonly OutputSpec[],
    attributes: Readonly<Record<string, Attribute>> = {},
    vjp?: Vjp,
    domain = '',
  ): readonly Tensor[] {
    const results = outputs.map((o) => this.tensor(o.dtype, o.shape));
    this.nodes.push({ op, domain, inputs, outputs: results, attributes });
    if (vjp !== undefined) {
      const present = inputs.filter((t): t is Tensor => t !== undefined);
      this.setOrigin({ inputs: present, outputs: results, vjp });
    }
    return results;
  }

  /** Replaces what differentiation knows of the outputs: for operations built of several nodes. */
  setOrigin(origin: Origin): void {
    for (const t of origin.outputs) this.root.origins.set(t.id, origin);
  }

  /** A name that no other tensor of the surrounding graphs has. */
  unique(stem: string): string {
    const root = this.root;
    root.nextId += 1;
    return `%${stem}${root.nextId - 1}`;
  }

  private tensor(dtype: DType, shape: readonly number[]): Tensor {
    const root = this.root;
    const id = root.nextId;
    root.nextId += 1;
    return { graph: this, id, dtype, shape: [...shape] };
  }
}

function hasNegativeZero(data: TensorData): boolean {
  return data instanceof Float32Array && data.some((x) => Object.is(x, -0));
}

function dtypeOf(data: TensorData | readonly number[] | number): DType {
  if (data instanceof BigInt64Array) return 'int64';
  if (data instanceof Int32Array) return 'int32';
  if (data instanceof Uint8Array) return 'uint8';
  if (data instanceof Int8Array) return 'int8';
  if (data instanceof Uint16Array) return 'float16';
  return 'float32';
}

function elementsOf(
  data: TensorData | readonly number[] | number,
  size: number,
  dtype: DType,
): TensorData {
  if (typeof data !== 'number' && !Array.isArray(data)) {
    const typed = data as TensorData;
    if (typed.BYTES_PER_ELEMENT !== elementBytes[dtype]) {
      throw new ShapeError('constant', `a ${typed.constructor.name} cannot hold ${dtype}`);
    }
    return typed;
  }
  const numbers: readonly number[] =
    typeof data === 'number' ? new Array<number>(size).fill(data) : (data as readonly number[]);
  switch (dtype) {
    case 'float32':
      return Float32Array.from(numbers);
    case 'float16':
      return Uint16Array.from(numbers, toHalf);
    case 'int64':
      return BigInt64Array.from(numbers, (x) => BigInt(x));
    case 'int32':
      return Int32Array.from(numbers);
    case 'int8':
      return Int8Array.from(numbers);
    case 'uint8':
    case 'bool':
      return Uint8Array.from(numbers);
  }
}
