/**
 * How the matrices of a language model's layers are stored. int8 has a scale a column and 8-bit products
 * on the fly, on CPUs alone; int4 has a scale a block of 32 inputs.
 */
export const WEIGHT_FORMATS = ['float32', 'float16', 'int8', 'int4'] as const;
export type WeightFormat = (typeof WEIGHT_FORMATS)[number];

/** Types of what is not quantised: embeddings, output layer, vision. */
export const FLOAT_FORMATS = ['float32', 'float16'] as const;
export type FloatFormat = (typeof FLOAT_FORMATS)[number];

/** Inputs that share a scale in int4. */
export const BLOCK = 32;

/** What the rest of a model is stored in unless asked otherwise: what the runtime multiplies with. */
export function restOf(format: WeightFormat): FloatFormat {
  return format === 'float16' || format === 'int4' ? 'float16' : 'float32';
}
