/** Low-rank adapters of a backbone's affine layers. */
export { adapterConfig, adapterName } from './adapter.ts';
export type { LoraConfig } from './adapter.ts';
export { bankLora, lora } from './apply.ts';
export { mergeLora } from './merge.ts';
export { TRUNK_LORA, adaptTrunk, mergePairs, trunkLoraSchema, trunkPairs } from './trunk.ts';
export type { TrunkLora } from './trunk.ts';
