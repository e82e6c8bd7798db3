import type { FrozenForm } from '@armature/sdk/contract';
import type { ParamSpec, Product } from '../nn/params.ts';
import {
  blockLinear,
  blockValues,
  quantizeBlocks,
  type BlockWeights,
  type Graph,
} from '../tensor/index.ts';

/** Inputs that share a scale. */
const BLOCK = 32;

/** Path of the token embeddings, which are the output layer's weight as well. */
const TABLE = 'trunk.language.embed';

/**
 * The affine layers that may be quantised: what the features of a frozen trunk are computed with, and the output
 * layer. The decoder is not among them: gradients pass through it to the head. Nor are convolutions.
 */
const LAYERS = /^trunk\.(stem|vision|language|inject)\./;

/** Frozen layers in blocks of few bits, by path, and how far they are from the trunk's own. */
export interface QuantisedLayers {
  readonly form: Exclude<FrozenForm, 'float32'>;
  readonly layers: ReadonlyMap<string, BlockWeights>;
  /** Root of the mean squared difference over that of the weights. */
  readonly error: number;
}

/**
 * Quantises the layers of a trunk whose features are frozen. In blocks (`MatMulNBits`), not by column with
 * activations scaled on the fly (`DynamicQuantizeMatMul`): that has one scale for all rows of a run, so what a row
 * gives would depend on the rows beside it, and features of training would not be those of serving.
 */
export function quantiseTrunk(
  specs: readonly ParamSpec[],
  trunk: ReadonlyMap<string, Float32Array>,
  form: QuantisedLayers['form'],
): QuantisedLayers {
  const layers = new Map<string, BlockWeights>();
  let [squares, differences] = [0, 0];
  for (const spec of specs) {
    const { name, shape } = spec;
    const path = pathOf(spec);
    const [out, width] = shape;
    if (path === undefined || out === undefined || width === undefined) continue;
    const values = trunk.get(name);
    if (values === undefined) throw new RangeError(`the trunk has no ${name}`);
    const blocks = quantizeBlocks(values, [out, width], form === 'int8' ? 8 : 4, BLOCK);
    layers.set(path, blocks);
    blockValues(blocks).forEach((stored, i) => {
      const value = values[i] ?? NaN;
      squares += value ** 2;
      differences += (stored - value) ** 2;
    });
  }
  return { form, layers, error: Math.sqrt(differences / squares) };
}

/** Products with the quantised layers, whose weights become constants of `graph`. */
export function quantisedProducts(
  graph: Graph,
  { layers }: QuantisedLayers,
): (path: string) => Product | undefined {
  const known = new Map<string, Product>();
  return (path) => {
    const weights = layers.get(path);
    if (weights === undefined) return undefined;
    const product = known.get(path) ?? productOf(graph, weights);
    known.set(path, product);
    return product;
  };
}

function productOf(
  graph: Graph,
  { rows, columns, bits, block, data, scales }: BlockWeights,
): Product {
  const blocks = Math.ceil(rows / block);
  const packed = graph.constant(data, [columns, blocks, (block * bits) / 8]);
  const steps = graph.constant(scales, [columns * blocks]);
  return (x, bias) => blockLinear(x, packed, steps, { bits, block, columns }, bias);
}

/** Path of the affine layer that a weight belongs to; undefined for what is not quantised. */
function pathOf({ name, shape }: ParamSpec): string | undefined {
  if (name === TABLE) return name;
  const isMatrix = name.endsWith('.weight') && shape.length === 2;
  return isMatrix && LAYERS.test(name) ? name.slice(0, -'.weight'.length) : undefined;
}
