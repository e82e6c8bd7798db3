/** Sizes of the large presets and their plan of memory. */
export { LARGE_OWN, LARGE_PRESETS, largePreset } from './presets.ts';
export type { LargePreset, LargePresetName } from './presets.ts';
export { countOf, languageParameters, presetParameters } from './parameters.ts';
export type { PresetParameters } from './parameters.ts';
export { PLANNED_FORMATS, planMemory } from './memory.ts';
export type { MemoryPart, MemoryPlan, PlanOptions, PlannedFormat } from './memory.ts';
