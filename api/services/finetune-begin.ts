import { enqueue, type Tx } from '@armature/db';
import type { FinetuneSets } from './finetune-sets.ts';
import { jobOf } from './finetune-change.ts';

/**
 * Queues a fine-tune whose sets are ready. One whose sets are being validated is queued, or ended, by the
 * database in the transaction that says how that came out.
 * @returns the state that it has then.
 */
export async function beginFinetune(
  tx: Tx,
  tenant: string,
  id: string,
  { ready }: Pick<FinetuneSets, 'ready'>,
): Promise<'queued' | 'validating'> {
  if (!ready) return 'validating';
  await enqueue(tx, jobOf(tenant, id));
  return 'queued';
}
