import { ArmatureError } from '@armature/sdk/contract';
import { databaseTrouble } from './services/database.ts';

/**
 * What a caller is told of any error: typed ones as they are, every other one without its words.
 * REST and tRPC both answer from here; the original is the `cause`, for the log.
 */
export function classifyError(error: unknown): ArmatureError {
  if (error instanceof ArmatureError) return error;
  return (
    databaseTrouble(error) ??
    new ArmatureError('internal', 'something went wrong on our side', {
      fix: 'Try again; if it stays so, tell us the request id.',
      cause: error,
    })
  );
}
