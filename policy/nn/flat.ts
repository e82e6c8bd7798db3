import { concat, reshape, slice, type Tensor } from '../tensor/index.ts';
import { elements, paramsOf, type Adapt, type Params, type ParamSpec } from './params.ts';

/** Place of each parameter in one flat vector, so that an optimiser is a few nodes and not hundreds. */
export interface FlatLayout {
  readonly size: number;
  readonly specs: readonly ParamSpec[];
  readonly offsets: ReadonlyMap<string, number>;
}

export function flatLayout(specs: readonly ParamSpec[]): FlatLayout {
  const offsets = new Map<string, number>();
  let size = 0;
  for (const spec of specs) {
    offsets.set(spec.name, size);
    size += elements(spec.shape);
  }
  return { size, specs, offsets };
}

/** A tensor that is a part of a flat vector. */
export interface FlatPart {
  readonly name: string;
  readonly shape: readonly number[];
  /** Of its first element. */
  readonly offset: number;
}

/** Those of the tensors that `layout` holds, in the shapes that they are given in. */
export function flatParts(
  layout: FlatLayout,
  tensors: readonly Pick<FlatPart, 'name' | 'shape'>[],
): FlatPart[] {
  return tensors.flatMap(({ name, shape }) => {
    const offset = layout.offsets.get(name);
    return offset === undefined ? [] : [{ name, shape, offset }];
  });
}

/** The tensors of a flat vector by name: slices, for a parameter that `layout` holds. */
export function slicedParams(
  flat: Tensor,
  layout: FlatLayout,
  rest: (spec: ParamSpec) => Tensor,
  adapt?: Adapt,
): { params: Params; tensors: ReadonlyMap<string, Tensor> } {
  const tensors = new Map<string, Tensor>();
  const params = paramsOf((spec) => {
    const offset = layout.offsets.get(spec.name);
    if (offset === undefined) return rest(spec);
    const part = slice(flat, 0, offset, offset + elements(spec.shape));
    const tensor = reshape(part, spec.shape);
    tensors.set(spec.name, tensor);
    return tensor;
  }, adapt);
  return { params, tensors };
}

/** Weights by name → one flat vector in the layout's order. Throws RangeError on a missing or misshapen one. */
export function packFlat(
  layout: FlatLayout,
  value: (spec: ParamSpec) => Float32Array,
): Float32Array {
  const out = new Float32Array(layout.size);
  for (const spec of layout.specs) {
    const data = value(spec);
    if (data.length !== elements(spec.shape)) {
      throw new RangeError(
        `${spec.name} has ${data.length} elements, its shape [${spec.shape.join(', ')}] needs ${elements(spec.shape)}`,
      );
    }
    out.set(data, layout.offsets.get(spec.name));
  }
  return out;
}

/** One flat vector → weights by name (copies). */
export function unpackFlat(layout: FlatLayout, flat: Float32Array): Map<string, Float32Array> {
  const out = new Map<string, Float32Array>();
  let offset = 0;
  for (const spec of layout.specs) {
    const size = elements(spec.shape);
    out.set(spec.name, flat.slice(offset, offset + size));
    offset += size;
  }
  return out;
}

/**
 * One tensor a parameter, in the layout's order → one flat vector. Of tensors that are gradients the runtime makes
 * the one first whose node came last: the first parameter's, which needs the whole way back, so that shares of a
 * batch go that way one after the other.
 */
export function flatten(layout: FlatLayout, tensors: readonly Tensor[]): Tensor {
  const backwards = layout.specs.map((spec, i) => ({ spec, tensor: tensors[i] })).reverse();
  const rows = backwards.map(({ spec, tensor }) => {
    if (tensor === undefined) throw new RangeError(`no tensor for ${spec.name}`);
    return reshape(tensor, [elements(spec.shape)]);
  });
  return concat(rows.reverse(), 0);
}
