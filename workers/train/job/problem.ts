import { ArmatureError } from '@armature/sdk/contract';
import type { JobProblem } from './ledger.ts';

/**
 * Whether the tenant can mend it: then another attempt of ours would end the same way. An error that cannot
 * say where and how is ours.
 */
export function isUserError(error: unknown): error is ArmatureError {
  return (
    error instanceof ArmatureError &&
    !error.retryable &&
    error.field !== undefined &&
    error.fix !== undefined
  );
}

/** The error as the tenant sees it; of what is ours to mend it says no more than that. */
export function problemOf(error: unknown): JobProblem {
  const tells = isUserError(error) || (error instanceof ArmatureError && error.retryable);
  if (!tells || error.code === 'internal') {
    return {
      code: 'internal',
      message: 'the job failed inside the platform, not because of its data or options',
      fix: 'Start the fine-tune again; if it fails again, report its id.',
    };
  }
  return {
    code: error.code,
    message: error.message,
    ...(error.field === undefined ? {} : { field: error.field }),
    ...(error.fix === undefined ? {} : { fix: error.fix }),
  };
}
