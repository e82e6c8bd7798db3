export {
  ImageError,
  PREPROCESS_HASH,
  PREPROCESS_MODULE,
  fitInside,
  preprocessImage,
} from './preprocess.ts';
export type { ImageSize } from './preprocess.ts';
export { resample } from './resample.ts';
export type { ResampleFilter } from './resample.ts';
export { SIGLIP_SCALE, QWEN2_VL_SCALE, scaledPlanes } from './pixel-scale.ts';
export type { PixelScale } from './pixel-scale.ts';
export { qwenPatches, smartResize } from './qwen-patches.ts';
export type { PatchLayout } from './qwen-patches.ts';
export { imageSize } from './image-size.ts';
export { fillNormal, permutation, seeded } from './random.ts';
export type { Random } from './random.ts';
export {
  boundState,
  decodeActions,
  encodeActions,
  encodeCommand,
  encodeState,
  fitNormalisation,
  normalisationSchema,
  stateJoints,
} from './normalise.ts';
export type { Motion, Normalisation } from './normalise.ts';
export { earlierInEpisode, encodeVelocity, fitVelocity } from './velocity.ts';
export type { EarlierState } from './velocity.ts';
export { outsideOf } from './outside.ts';
export type { Outside } from './outside.ts';
export {
  TextError,
  decodeReasoning,
  encodeInstruction,
  encodeReasoning,
  special,
} from './tokens.ts';
export type { EncodedReasoning, EncodedText } from './tokens.ts';
