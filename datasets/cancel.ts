import { ArmatureError } from '@armature/sdk/contract';

/** @throws ArmatureError `cancelled` once the signal is aborted. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new ArmatureError('cancelled', 'reading the data set was cancelled', {
    cause: signal.reason,
  });
}
