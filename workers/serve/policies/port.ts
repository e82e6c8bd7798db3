import type { PolicyManifest } from '@armature/policy/checkpoint';
import type { EarlierState } from '@armature/policy/data';
import type {
  ActResult,
  ActRow,
  PolicyHandle,
  PolicyRuntime,
  PreviousChunk,
  Reasoning,
} from '@armature/policy/runtime';

/** What this process needs of the model: `PolicyRuntime`, or in a test something that acts like it. */
export type PolicyPort = Pick<
  PolicyRuntime,
  | 'load'
  | 'unload'
  | 'batchKey'
  | 'maxBatch'
  | 'pulledBack'
  | 'refusalOf'
  | 'prepare'
  | 'act'
  | 'reason'
  | 'reasonAndAct'
>;
export type {
  ActResult,
  ActRow,
  EarlierState,
  PolicyHandle,
  PolicyManifest,
  PreviousChunk,
  Reasoning,
};
