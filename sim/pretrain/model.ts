import { flatLayout, unpackFlat, type FlatLayout } from '@armature/policy/nn';
import { initialValues, type ParamSpec } from '@armature/policy/nn';
import { modelParams, nano, type Signature } from '@armature/policy/divla';
import { horizon } from '../embodiments.ts';
import { pictureSize } from '../camera.ts';

/** Views of the pre-training pictures: from above, and at the tool. */
export const signature: Signature = {
  external: 1,
  wrist: 1,
  width: pictureSize,
  height: pictureSize,
  horizon,
};

export interface PretrainModel {
  readonly trunk: readonly ParamSpec[];
  readonly head: readonly ParamSpec[];
  /** Trunk, then a bank of heads, as one flat vector. */
  readonly layout: FlatLayout;
  initial(name: string): Float32Array;
}

/** The model with one head an arm. */
export function pretrainModel(arms: number, seed: number): PretrainModel {
  const { trunk, head } = modelParams(nano);
  const layout = flatLayout([
    ...trunk,
    ...head.map((spec) => ({ ...spec, shape: [arms, ...spec.shape] })),
  ]);
  const specs = new Map(layout.specs.map((spec) => [spec.name, spec] as const));
  return {
    trunk,
    head,
    layout,
    initial(name) {
      const spec = specs.get(name);
      if (spec === undefined) throw new RangeError(`the model has no parameter ${name}`);
      return initialValues(spec, seed);
    },
  };
}

/** Weights by name out of a flat vector. */
export function weightsOf(
  model: PretrainModel,
  flat: Float32Array,
): (name: string) => Float32Array {
  const weights = unpackFlat(model.layout, flat);
  return (name) => {
    const data = weights.get(name);
    if (data === undefined) throw new RangeError(`the model has no parameter ${name}`);
    return data;
  };
}
