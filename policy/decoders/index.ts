/** Action decoders of published policies. */
export { conditionalUnet1d } from './conditional-unet1d.ts';
export type { ConditionalUnet1dShape } from './conditional-unet1d.ts';
export { ddimSample } from './ddim.ts';
export type { CleanChange, DdimOptions, NoiseOf } from './ddim.ts';
