export {
  ImageError,
  PREPROCESS_HASH,
  PREPROCESS_MODULE,
  fitInside,
  preprocessImage,
} from './preprocess.ts';
export type { ImageSize } from './preprocess.ts';
export { imageSize } from './image-size.ts';
export { fillNormal, permutation, seeded } from './random.ts';
export type { Random } from './random.ts';
export {
  decodeActions,
  encodeActions,
  encodeCommand,
  encodeState,
  fitNormalisation,
  normalisationSchema,
  stateJoints,
} from './normalise.ts';
export type { Motion, Normalisation } from './normalise.ts';
export {
  TextError,
  decodeReasoning,
  encodeInstruction,
  encodeReasoning,
  special,
} from './tokens.ts';
export type { EncodedReasoning, EncodedText } from './tokens.ts';
