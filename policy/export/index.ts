/** Published models as graphs with their weights in one data file beside them. */
export { ExportError } from './errors.ts';
export { BLOCK, FLOAT_FORMATS, WEIGHT_FORMATS, restOf } from './formats.ts';
export type { FloatFormat, WeightFormat } from './formats.ts';
export { StoredWeights } from './stored-weights.ts';
export type { StoreOptions, StoredPart, StoredWeight } from './stored-weights.ts';
export { layOut } from './data-file.ts';
export type { ByteSink } from './data-file.ts';
export type { WeightError } from './encode.ts';
export {
  languageGraph,
  promptTokens,
  qwenVisionGraph,
  readingGraph,
  siglipGraph,
} from './graphs.ts';
export type { ExportSignature } from './graphs.ts';
export {
  isSiglip,
  modelBytes,
  planImport,
  planReference,
  readingIds,
  writeWeightData,
} from './import-model.ts';
export type { FreshWeights, ImportPlan, ImportSizes, ModelSources } from './import-model.ts';
export { freshHead, freshScopes, isJoinable, planPolicy, policyConfig } from './import-policy.ts';
export type { PolicySizes } from './import-policy.ts';
export { modelManifestBytes, modelManifestSchema, readModelManifest } from './manifest.ts';
export type { ModelManifest } from './manifest.ts';
