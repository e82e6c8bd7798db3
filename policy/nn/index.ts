/** Layers and parameters that models are built from. */
export { flatLayout, packFlat, unpackFlat } from './flat.ts';
export type { FlatLayout } from './flat.ts';
export { elements, initialValues } from './params.ts';
export type { ParamSpec } from './params.ts';
