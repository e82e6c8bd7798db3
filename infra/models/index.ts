/** The tools behind `armature models`: memory plans and imports of published models. */
export { importModel } from './import.ts';
export type { ImportReport, ImportRequest, PolicyRequest } from './import.ts';
export { planModel } from './plan.ts';
export type { PlanReport, PlanRequest } from './plan.ts';
