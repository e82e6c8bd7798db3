import { ArmatureError, type Finetune, type JobEvent } from '../../contract/index.ts';
import { sleep } from '../backoff.ts';
import type { Armature } from '../client.ts';

export interface WaitForFinetuneOptions {
  readonly client: Armature;
  readonly id: string;
  /** Every event of the job, in order, once. */
  readonly onEvent?: (event: JobEvent) => void;
  /** The job after every look. */
  readonly onUpdate?: (finetune: Finetune) => void;
  /** Events after this one only; 0 (all) unless told. */
  readonly after?: number;
  /** ms between looks; 1,000 unless told. */
  readonly pollMs?: number;
  readonly signal?: AbortSignal;
}

/** Events asked for at once. */
const PAGE = 500;

/**
 * Waits until a fine-tuning job has ended.
 * @returns the job, succeeded.
 * @throws ArmatureError with the job's own error when it failed; `cancelled` when it was cancelled or
 *   the signal is aborted (the job itself goes on then: `finetunes.cancel` ends it).
 */
export async function waitForFinetune(options: WaitForFinetuneOptions): Promise<Finetune> {
  const { client, id, signal } = options;
  const call = signal === undefined ? {} : { signal };
  let after = options.after ?? 0;
  for (;;) {
    // The job first: what it says of its end, the events asked for afterwards contain.
    const finetune = await client.finetunes.get({ id }, call);
    for (let full = true; full;) {
      const { items } = await client.finetunes.events({ id, after, limit: PAGE }, call);
      for (const event of items) {
        options.onEvent?.(event);
        after = Math.max(after, event.seq);
      }
      full = items.length === PAGE;
    }
    options.onUpdate?.(finetune);
    if (finetune.status === 'succeeded') return finetune;
    if (finetune.status === 'failed' || finetune.status === 'user_error') throw failure(finetune);
    if (finetune.status === 'cancelled') {
      throw new ArmatureError('cancelled', `${finetune.name} (${id}) was cancelled`, {
        fix: 'Create it again if it was not meant to be.',
      });
    }
    await sleep(options.pollMs ?? 1000, signal);
  }
}

function failure(finetune: Finetune): ArmatureError {
  const { error } = finetune;
  if (error === null) {
    return new ArmatureError('internal', `${finetune.name} (${finetune.id}) failed`, {
      fix: 'Read its events for what happened.',
    });
  }
  return new ArmatureError(error.code, `${finetune.name} (${finetune.id}): ${error.message}`, {
    ...(error.field === undefined ? {} : { field: error.field }),
    ...(error.fix === undefined ? {} : { fix: error.fix }),
  });
}
