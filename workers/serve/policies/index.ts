/** Policy versions from the object store into the model's banks, and what the model is to this process. */
export { assertCompatible } from './compatibility.ts';
export { fetchPolicy, type FetchedPolicy, type PolicyRef } from './fetch-policy.ts';
export { PolicyRegistry, type LoadedPolicy, type PolicyLease } from './policy-registry.ts';
export { shapeOf, type Shape, type Views } from './shape.ts';
export { WarmShapes, type RowKind } from './warm-shapes.ts';
export type {
  ActResult,
  ActRow,
  PolicyHandle,
  PolicyManifest,
  PolicyPort,
  EarlierState,
  PreviousChunk,
  Reasoning,
} from './port.ts';
