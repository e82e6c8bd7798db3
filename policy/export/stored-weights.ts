import { plainProject, type Project } from '../backbones/index.ts';
import { zeros, paramsOf, type Params, type ParamSpec } from '../nn/params.ts';
import {
  add,
  blockLinear,
  cast,
  int8Linear,
  type DType,
  type Graph,
  type Tensor,
} from '../tensor/index.ts';
import { lastDim, toHalf } from '../nn/layers.ts';
import { ExportError } from './errors.ts';
import { BLOCK, type FloatFormat, type WeightFormat } from './formats.ts';

/** A run of bytes in the data file: an initializer of the graphs. */
export interface StoredPart {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A parameter of the model and what it becomes in the data file. */
export interface StoredWeight {
  /** The parameter's name, and its shape in the model ([out, in] for a matrix). */
  readonly name: string;
  readonly shape: readonly number[];
  readonly format: WeightFormat;
  /** The values, then the scales where there are any. */
  readonly parts: readonly [StoredPart] | readonly [StoredPart, StoredPart];
}

export interface StoreOptions {
  readonly weights: WeightFormat;
  readonly rest: FloatFormat;
}

/** The weights that a model's graphs read, each stored once however many graphs read it. */
export class StoredWeights {
  readonly options: StoreOptions;
  private readonly known = new Map<string, StoredWeight>();
  private readonly started = new Map<string, ParamSpec>();

  /** @throws ExportError for int8 with another rest than float32, which its operator multiplies with. */
  constructor(options: StoreOptions) {
    if (options.weights === 'int8' && options.rest !== 'float32') {
      throw new ExportError('rest', 'int8 weights multiply with float32 alone');
    }
    this.options = options;
  }

  /** In the order in which graphs first read them. */
  list(): readonly StoredWeight[] {
    return [...this.known.values()];
  }

  /** How a weight starts that no folder holds. @throws ExportError for one that no graph reads as it is. */
  specOf(name: string): ParamSpec {
    const spec = this.started.get(name);
    if (spec === undefined) throw new ExportError(name, 'is read by no graph');
    return spec;
  }

  /**
   * Parameters and affine layers of a graph, read from the data file. Vectors are float32 whatever the
   * format; a matrix is quantised where a layer multiplies with it through `project`.
   * @param isInput which parameters are inputs of the graph, in the type of a matrix that is not quantised
   */
  reader(
    graph: Graph,
    isInput: (name: string) => boolean = () => false,
  ): { readonly params: Params; readonly project: Project } {
    const tensors = new Map<string, Tensor>();
    const open = (part: StoredPart): Tensor => {
      const tensor = tensors.get(part.name) ?? graph.external(part.name, part.dtype, part.shape);
      tensors.set(part.name, tensor);
      return tensor;
    };
    const { weights, rest } = this.options;
    const params = paramsOf((spec) => {
      const { name, shape } = spec;
      if (isInput(name)) return graph.input(name, rest, shape);
      this.started.set(name, spec);
      const format = shape.length > 1 ? rest : 'float32';
      return open(this.store({ name, shape, format, parts: [{ name, dtype: format, shape }] }));
    });
    const project: Project = (p, x, out, bias) => {
      const y = this.product(`${p.path}.weight`, x, out, open);
      return bias ? add(y, p.param('bias', [out], zeros)) : y;
    };
    return { params, project: weights === 'int8' || weights === 'int4' ? project : plainProject };
  }

  private product(
    name: string,
    x: Tensor,
    out: number,
    open: (part: StoredPart) => Tensor,
  ): Tensor {
    const weight = quantised(name, [out, lastDim(x)], this.options);
    this.store(weight);
    const [data, scales] = weight.parts.map(open) as [Tensor, Tensor];
    if (weight.format === 'int8') return int8Linear(x, data, scales);
    const layout = { bits: 4, block: BLOCK, columns: out } as const;
    const given = scales.dtype === 'float16' ? toHalf(x) : x;
    return cast(blockLinear(given, data, scales, layout), x.dtype);
  }

  /** @returns the only part of a weight that has one. */
  private store(weight: StoredWeight): StoredPart {
    const known = this.known.get(weight.name);
    if (known !== undefined && known.format !== weight.format) {
      throw new ExportError(weight.name, `is read as ${known.format} and as ${weight.format}`);
    }
    this.known.set(weight.name, known ?? weight);
    return weight.parts[0];
  }
}

function quantised(
  name: string,
  shape: readonly [number, number],
  { weights, rest }: StoreOptions,
): StoredWeight {
  const [out, inner] = shape;
  const blocks = Math.ceil(inner / BLOCK);
  const parts: readonly [StoredPart, StoredPart] =
    weights === 'int8'
      ? [
          { name: `${name}.int8`, dtype: 'int8', shape: [inner, out] },
          { name: `${name}.scales`, dtype: 'float32', shape: [out] },
        ]
      : [
          { name: `${name}.int4`, dtype: 'uint8', shape: [out, blocks, BLOCK / 2] },
          { name: `${name}.scales`, dtype: rest, shape: [out * blocks] },
        ];
  return { name, shape, format: weights, parts };
}
