import type { AdamWStart, AdamWStep } from './adamw.ts';
import type { EngineErrorCode } from './errors.ts';
import type { FlatPart } from '../nn/flat.ts';
import type { TensorData } from '../tensor/index.ts';
import type { Values } from './value.ts';

/** Messages between an engine and its worker thread. */

export type ExecutionProvider = 'cpu' | 'webgpu' | 'cuda';

/** What a worker thread is started with. */
export interface WorkerData {
  readonly settings: WorkerSettings;
  /** Memory of the Gate. */
  readonly gate: SharedArrayBuffer;
}

export interface WorkerSettings {
  readonly threads: number;
  readonly executionProvider: ExecutionProvider;
  readonly spin: boolean;
  readonly niceness: number;
}

export interface LoadOptions {
  /** File stem for a profile that ONNX Runtime writes when the session is dropped. */
  readonly profile?: string;
  /**
   * Whether the runtime keeps weights a second time, in the order that its products read them (default).
   * Without it weights in a file beside the model are only mapped.
   */
  readonly prepack?: boolean;
  /** The model comes from `optimise`: it is taken as it is, which is most of what making a session costs. */
  readonly optimised?: boolean;
}

export interface RunOptions {
  /** Outputs to compute; all when absent. */
  readonly outputs?: readonly string[];
  /** Inputs bound to resident tensors: input name → 'key/name'. */
  readonly resident?: Readonly<Record<string, string>>;
  /** Outputs that stay in the worker instead of coming back: output name → 'key/name'. */
  readonly store?: Readonly<Record<string, string>>;
  /** Moves the feeds' memory instead of copying it: the caller's arrays become empty. */
  readonly move?: boolean;
}

export interface StepOptions {
  /** State: output name → input name; the output of one call is the input of the next. */
  readonly carry: Readonly<Record<string, string>>;
  /** Resident key that holds the state by input name. */
  readonly keep: string;
  /** Further inputs bound to resident tensors: input name → 'key/name'. */
  readonly resident?: Readonly<Record<string, string>>;
  readonly move?: boolean;
}

export interface DescendOptions {
  /** Resident key that `hold` was given. */
  readonly keep: string;
  readonly optimiser: AdamWStep;
  /** Further inputs bound to resident tensors: input name → 'key/name'. */
  readonly resident?: Readonly<Record<string, string>>;
  readonly move?: boolean;
}

export type Call =
  | { readonly kind: 'start'; readonly probe: Uint8Array | undefined }
  | {
      readonly kind: 'load';
      readonly id: string;
      readonly model: Uint8Array | string;
      readonly options: LoadOptions;
    }
  | { readonly kind: 'optimise'; readonly model: Uint8Array }
  | { readonly kind: 'unload'; readonly id: string }
  | {
      readonly kind: 'run';
      readonly id: string;
      readonly feeds: Values;
      readonly options: RunOptions;
    }
  | {
      readonly kind: 'step';
      readonly id: string;
      readonly feeds: Values;
      readonly options: StepOptions;
    }
  | {
      readonly kind: 'descend';
      readonly id: string;
      readonly feeds: Values;
      readonly options: DescendOptions;
    }
  | {
      readonly kind: 'hold';
      readonly key: string;
      readonly start: AdamWStart;
      readonly parts: readonly FlatPart[];
    }
  | { readonly kind: 'put'; readonly key: string; readonly values: Values }
  | {
      readonly kind: 'patch';
      readonly key: string;
      readonly name: string;
      readonly offset: number;
      readonly data: TensorData;
    }
  | { readonly kind: 'drop'; readonly key: string }
  | { readonly kind: 'read'; readonly key: string; readonly names: readonly string[] | undefined }
  | { readonly kind: 'stats' }
  | { readonly kind: 'close' };

export interface Request {
  readonly ticket: number;
  readonly call: Call;
}

export type Reply =
  | { readonly ticket: number; readonly values: Values }
  | { readonly ticket: number; readonly stats: EngineStats }
  | { readonly ticket: number; readonly model: Uint8Array }
  | { readonly ticket: number; readonly failure: Failure };

export interface Failure {
  readonly code: EngineErrorCode;
  readonly message: string;
  readonly session: string | undefined;
}

export interface SessionStats {
  readonly id: string;
  readonly loadMs: number;
  readonly runs: number;
  readonly runMs: number;
  readonly lastMs: number;
}

export interface EngineStats {
  readonly sessions: readonly SessionStats[];
  readonly residentBytes: number;
}
