/** Weights and policy versions as bytes. */
export {
  fromFloat32,
  listSafetensors,
  readSafetensors,
  toFloat32,
  writeSafetensors,
} from './safetensors.ts';
export type { SafetensorsFile } from './safetensors.ts';
export { SafetensorsError } from './safetensors-header.ts';
export type { SafeDType, SafeTensor } from './safetensors-header.ts';
export { openSafetensors } from './safetensors-file.ts';
export type { ByteSource, ElementRange, OpenSafetensors } from './safetensors-file.ts';
export { WeightsError, readWeights, writeWeights } from './weights.ts';
export type { Weights } from './weights.ts';
export { baseWeightsUrl, loadBase } from './base.ts';
export type { BaseModel } from './base.ts';
export { canonicalJson, sha256 } from './digest.ts';
export {
  manifestBytes,
  manifestDigest,
  policyManifestSchema,
  readManifest,
  standsOnBase,
} from './manifest.ts';
export type { PolicyManifest } from './manifest.ts';
