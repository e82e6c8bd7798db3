import type { LoraConfig } from '@armature/policy/lora';
import {
  LARGE_PRESETS,
  PLANNED_FORMATS,
  planMemory,
  type LargePresetName,
  type MemoryPart,
  type PlannedFormat,
} from '@armature/policy/plan';
import { ArmatureError } from '@armature/sdk/contract';

export interface PlanRequest {
  readonly preset: LargePresetName;
  /** Of one GPU, GiB. */
  readonly gpuMemory: number;
  readonly batch: number;
  readonly external: number;
  readonly wrist: number;
  readonly textTokens: number;
  readonly reasoningTokens: number;
  /** Policies resident beside each other. */
  readonly policies: number;
  /** Rank of each policy's adapter; 0: none has one. */
  readonly loraRank: number;
  /** What the driver and the runtime's workspace are given, GiB. */
  readonly reserve: number;
}

/** A plan for each format that the language model's layers may have. */
export interface PlanReport {
  readonly preset: LargePresetName;
  readonly gpu_memory_gib: number;
  readonly batch: number;
  readonly policies: number;
  readonly lora_rank: number;
  readonly formats: readonly {
    readonly format: PlannedFormat;
    readonly runs_on_gpus: boolean;
    readonly parts: readonly MemoryPart[];
    readonly bytes: number;
    readonly fits: boolean;
    readonly largest_batch: number;
    readonly most_policies: number;
  }[];
}

/** Layers of the language model that an adapter is given. */
export const ADAPTED = [
  'q_proj',
  'k_proj',
  'v_proj',
  'o_proj',
  'gate_proj',
  'up_proj',
  'down_proj',
];

/** @throws ArmatureError invalid_request for a count that is none. */
export function planModel(request: PlanRequest): PlanReport {
  const { preset, gpuMemory, policies, loraRank, ...rest } = request;
  const lora: LoraConfig = { rank: loraRank, scaling: 1, targets: ADAPTED };
  const options = { ...rest, gpuMemory, slots: policies, ...(loraRank === 0 ? {} : { lora }) };
  try {
    return {
      preset,
      gpu_memory_gib: gpuMemory,
      batch: rest.batch,
      policies,
      lora_rank: loraRank,
      formats: PLANNED_FORMATS.map((format) => {
        const { largestBatch, largestSlots, ...plan } = planMemory(LARGE_PRESETS[preset], {
          ...options,
          format,
        });
        return {
          format,
          // Its products of 8 bits have no kernel there.
          runs_on_gpus: format !== 'int8',
          ...plan,
          largest_batch: largestBatch,
          most_policies: largestSlots,
        };
      }),
    };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ArmatureError('invalid_request', error.message, { cause: error });
  }
}
