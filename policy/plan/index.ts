/** Sizes of the large presets and their plan of memory. */
export { LARGE_PRESETS } from './presets.ts';
export type { LargePreset, LargePresetName } from './presets.ts';
export { adapterParameters, countOf, languageParameters, presetParameters } from './parameters.ts';
export type { PresetParameters } from './parameters.ts';
export { planMemory, planTable } from './memory.ts';
export type { MemoryPart, MemoryPlan, PlanOptions, WeightFormat } from './memory.ts';
