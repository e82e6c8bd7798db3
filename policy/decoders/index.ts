/** Action decoders of published policies. */
export { conditionalUnet1d } from './conditional-unet1d.ts';
export type { BlockVoice, ConditionalUnet1dShape } from './conditional-unet1d.ts';
export { ddimSample, ddimStep } from './ddim.ts';
export type { CleanChange, DdimLevels, DdimOptions, NoiseOf, Prediction } from './ddim.ts';
