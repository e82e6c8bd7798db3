import { Graph, type Tensor } from '../tensor/index.ts';
import { seeded } from '../data/random.ts';

/** How a parameter starts. */
export type Init =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'normal'; readonly std: number }
  | { readonly kind: 'uniform'; readonly bound: number };

export interface ParamSpec {
  /** Dotted path, e.g. `decoder.down.0.conv1.weight`. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly init: Init;
  /** Whether weight decay applies (matrices yes; biases, norms and embeddings no). */
  readonly decay: boolean;
}

/** Where a model's code gets its parameters: each name once, under a path of scopes. */
export interface Params {
  readonly path: string;
  param(name: string, shape: readonly number[], init: Init, decay?: boolean): Tensor;
  scope(name: string): Params;
  /** What the affine layer at this path gives of x: its own y, or what an adapter makes of it. */
  adapted(x: Tensor, y: Tensor): Tensor;
  /** Multiplies with the weight of the affine layer at this path, where that is no parameter. */
  readonly product: Product | undefined;
}

/** x […, in]·weightᵀ (+ bias [out]) for a weight [out, in] in whatever form. */
export type Product = (x: Tensor, bias?: Tensor) => Tensor;

/** Changes what the affine layer at `path` gives; `root` has the adapter's own parameters. */
export type Adapt = (root: Params, path: string, x: Tensor, y: Tensor) => Tensor;

/** Parameters that `resolve` turns into tensors; the same path always gives the same tensor. */
export function paramsOf(
  resolve: (spec: ParamSpec) => Tensor,
  adapt?: Adapt,
  productAt?: (path: string) => Product | undefined,
): Params {
  const known = new Map<string, Tensor>();
  const at = (path: string): Params => ({
    path,
    scope: (name) => at(path === '' ? name : `${path}.${name}`),
    param(name, shape, init, decay = false) {
      const full = path === '' ? name : `${path}.${name}`;
      const tensor = known.get(full) ?? resolve({ name: full, shape, init, decay });
      known.set(full, tensor);
      return tensor;
    },
    adapted: (x, y) => adapt?.(at(''), path, x, y) ?? y,
    product: productAt?.(path),
  });
  return at('');
}

/** Parameters as inputs of the graph, one each, named by their path: the form that serving feeds. */
export function inputParams(
  graph: Graph,
  productAt?: (path: string) => Product | undefined,
): Params {
  const input = (spec: ParamSpec): Tensor => graph.input(spec.name, 'float32', spec.shape);
  return paramsOf(input, undefined, productAt);
}

/** The parameters that `build` asks for, in the order in which it asks. */
export function collectParams(build: (params: Params, graph: Graph) => void): ParamSpec[] {
  const graph = new Graph('collect');
  const specs: ParamSpec[] = [];
  const params = paramsOf((spec) => {
    specs.push(spec);
    return graph.input(spec.name, 'float32', spec.shape);
  });
  build(params, graph);
  return specs;
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Initial values of a parameter: a function of the seed and its name alone, not of its place. */
export function initialValues(spec: ParamSpec, seed: number): Float32Array {
  const out = new Float32Array(elements(spec.shape));
  const { init } = spec;
  if (init.kind === 'constant') return out.fill(init.value);
  const random = seeded(seed, ...Array.from(spec.name, (letter) => letter.charCodeAt(0)));
  for (let i = 0; i < out.length; i++) {
    out[i] =
      init.kind === 'normal' ? random.normal() * init.std : (random.uniform() * 2 - 1) * init.bound;
  }
  return out;
}

export const zeros: Init = { kind: 'constant', value: 0 };
export const ones: Init = { kind: 'constant', value: 1 };

/** PyTorch's default for linear and convolution weights: uniform ±1/√fan-in. */
export function fanIn(fan: number): Init {
  return { kind: 'uniform', bound: 1 / Math.sqrt(fan) };
}
