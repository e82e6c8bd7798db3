/** Language models and vision encoders of published families, as graphs, and their folders. */
export { ModelConfigError, ModelFolderError } from './errors.ts';
export { languageModel } from './families.ts';
export type {
  DecodeInput,
  Decoded,
  LanguageFamily,
  LanguageModel,
  LanguageShape,
  LayerCache,
  Project,
} from './family.ts';
export { causalDecoder, plainProject } from './decoder.ts';
export type { DecoderOptions } from './decoder.ts';
export { greedy } from './generate.ts';
export type { Greedy } from './generate.ts';
export { promptMask } from './masks.ts';
export { promptPositions, visualPlaces, visualTokens } from './positions.ts';
export type { PromptLayout, PromptPositions, VisionGrid } from './positions.ts';
export { placeVisual } from './place-visual.ts';
export { qwenVision, qwenVisionShape } from './qwen2-vl-vision.ts';
export type { QwenVisionResult, QwenVisionShape } from './qwen2-vl-vision.ts';
export { siglip, siglipPool, siglipShape, siglipTokens } from './siglip.ts';
export type { SiglipResult, SiglipShape } from './siglip.ts';
export { languageName, siglipName } from './huggingface/names.ts';
export { modelWeights, openModelFolder, storedTensors } from './huggingface/folder.ts';
export type { HuggingFaceModel, ModelFolder } from './huggingface/folder.ts';
