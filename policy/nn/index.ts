/** Layers and parameters that models are built from. */
export { flatLayout, flatParts, packFlat, unpackFlat } from './flat.ts';
export type { FlatLayout } from './flat.ts';
export { elements, initialValues, paramsOf } from './params.ts';
export type { Params, ParamSpec } from './params.ts';
