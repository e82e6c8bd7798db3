import {
  ArmatureError,
  type DatasetReport,
  type EmbodimentSpec,
  type ErrorCode,
} from '@armature/sdk/contract';

/** Folder of the scratch folder that holds what the report has no room for. */
export const DERIVED = 'derived';

/** What the worker tells the process that checks a set. */
export type ToChecker =
  | {
      readonly kind: 'check';
      readonly files: readonly { readonly path: string; readonly size: number }[];
      readonly spec: EmbodimentSpec;
      readonly without: readonly number[];
      readonly lanes: number;
      /** Folder for what does not stay in memory; removed by the worker. */
      readonly scratch: string;
    }
  /** Where the file asked for lies, or why it cannot be had. */
  | { readonly kind: 'file'; readonly id: number; readonly local: string }
  | { readonly kind: 'no_file'; readonly id: number; readonly error: Fault };

/** What the process that checks a set tells the worker. */
export type FromChecker =
  | { readonly kind: 'ready' }
  /** Asks for a file of the set: it has no way to the object store itself. */
  | { readonly kind: 'file'; readonly id: number; readonly path: string }
  | { readonly kind: 'progress'; readonly fraction: number }
  /** The episodes that are being looked at. */
  | { readonly kind: 'reading'; readonly episodes: readonly number[] }
  | { readonly kind: 'report'; readonly report: DatasetReport }
  | { readonly kind: 'failed'; readonly error: Fault };

/** An error as it travels between processes. */
export interface Fault {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field?: string;
  readonly fix?: string;
}

export function toFault(error: unknown): Fault {
  if (!(error instanceof ArmatureError)) {
    return { code: 'internal', message: error instanceof Error ? error.message : String(error) };
  }
  const { code, message, field, fix } = error;
  return {
    code,
    message,
    ...(field === undefined ? {} : { field }),
    ...(fix === undefined ? {} : { fix }),
  };
}

export const fromFault = ({ code, message, ...details }: Fault): ArmatureError =>
  new ArmatureError(code, message, details);
