import { ArmatureError } from '../contract/index.ts';

/**
 * What `armature models` needs of the model room. The SDK is installed without that room, so nothing
 * here imports it: it is looked for by name when a command of it is run.
 */
export interface ModelTools {
  readonly planModel: (request: PlanRequest) => PlanReport;
  readonly importModel: (request: ImportRequest) => Promise<ImportReport>;
}

export const PRESETS = ['2b', '7b', '72b'] as const;
export const WEIGHT_FORMATS = ['float32', 'float16', 'int8', 'int4'] as const;
export const FLOAT_FORMATS = ['float32', 'float16'] as const;

export interface PlanRequest {
  readonly preset: (typeof PRESETS)[number];
  /** Of one GPU, and what is kept free of it, GiB. */
  readonly gpuMemory: number;
  readonly reserve: number;
  readonly batch: number;
  readonly external: number;
  readonly wrist: number;
  readonly textTokens: number;
  readonly reasoningTokens: number;
  /** Policies resident beside each other, and the rank of their adapters (0: none). */
  readonly policies: number;
  readonly loraRank: number;
}

/** What a model takes of a GPU's memory, a plan a format. */
export interface PlanReport {
  readonly preset: string;
  readonly gpu_memory_gib: number;
  readonly batch: number;
  readonly policies: number;
  readonly lora_rank: number;
  readonly formats: readonly {
    readonly format: string;
    readonly runs_on_gpus: boolean;
    readonly parts: readonly { readonly name: string; readonly bytes: number }[];
    readonly bytes: number;
    readonly fits: boolean;
    /** Rows of a batch, and policies, that fit with everything else as asked. */
    readonly largest_batch: number;
    readonly most_policies: number;
  }[];
}

export interface ImportRequest {
  readonly dir: string;
  readonly vision?: string;
  readonly out: string;
  readonly weights: (typeof WEIGHT_FORMATS)[number];
  readonly rest?: (typeof FLOAT_FORMATS)[number];
  /** One model that sees, reasons and acts; graphs of the parts alone when null. */
  readonly policy: {
    readonly wrist: number;
    readonly horizon: number;
    readonly decoder: readonly number[];
    readonly slots: number;
    readonly loraRank: number;
    readonly seed: number;
  } | null;
  readonly check: boolean;
  readonly batch: number;
  readonly views: number;
  readonly imageSize: number;
  readonly visualTokens?: number;
  readonly textTokens: number;
  readonly reasoningTokens: number;
  readonly signal: AbortSignal;
  readonly onProgress: (phase: 'write' | 'check', share: number, text: string) => void;
}

export interface ImportReport {
  readonly out: string;
  readonly weights: string;
  readonly rest: string;
  readonly parameters: number;
  readonly bytes: number;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** Of each matrix that is not stored as its source has it, relative to the source. */
  readonly errors: readonly {
    readonly name: string;
    readonly format: string;
    readonly max: number;
    readonly rms: number;
  }[];
  /** Weights that no folder holds, which start from a seed, and the file that has them. */
  readonly fresh: readonly {
    readonly file: string;
    readonly scope: string;
    readonly parameters: number;
    readonly seed: number;
  }[];
  /** Of logits against float32's; null where they were not compared, and then why not. */
  readonly logits: { readonly cosine: number; readonly max_difference: number } | null;
  readonly not_compared: string | null;
}

/** Where the tools are, beside the SDK in a checkout of Armature. */
const PACKAGE = '@armature/infra/models';

/** @throws ArmatureError `not_found` where the SDK is installed alone. */
export async function loadModelTools(from: string = PACKAGE): Promise<ModelTools> {
  try {
    return (await import(from)) as ModelTools;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && isAbsent(error.code))) throw error;
    throw new ArmatureError('not_found', 'this installation has no tools for models', {
      field: 'models',
      fix: 'Run it in a checkout of Armature: npm run models -- --help.',
      cause: error,
    });
  }
}

function isAbsent(code: unknown): boolean {
  return code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
}
