import { modelParams, nano, type DivlaConfig } from '../divla/index.ts';
import type { ParamSpec } from '../nn/params.ts';
import { sha256 } from './digest.ts';
import { readWeights, type Weights } from './weights.ts';

/** A pre-trained trunk that every fine-tune starts from. */
export interface BaseModel {
  readonly config: DivlaConfig;
  readonly digest: string;
  readonly trunkSpecs: readonly ParamSpec[];
  readonly headSpecs: readonly ParamSpec[];
  readonly trunk: Weights;
}

/** The file of a preset's base weights, shipped beside this module. */
export function baseWeightsUrl(preset: 'nano'): URL {
  return new URL(`../checkpoints/${preset}/trunk.safetensors`, import.meta.url);
}

/** @throws WeightsError when the file does not fit the preset. */
export function loadBase(bytes: Uint8Array): BaseModel {
  const { trunk, head } = modelParams(nano);
  return {
    config: nano,
    digest: sha256(bytes),
    trunkSpecs: trunk,
    headSpecs: head,
    trunk: readWeights(trunk, bytes).weights,
  };
}
