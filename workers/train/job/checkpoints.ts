import { createHash } from 'node:crypto';
import { LeaseLostError, type ClaimedJob } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import { LeaseLost } from '../../jobs/reasons.ts';
import type { CheckpointRecord, FinetuneInput } from './input.ts';
import { checkpointKey, finetunePrefix } from './keys.ts';
import type { Ledger } from './ledger.ts';
import { NOTHING_TRAINED, type TrainingSoFar } from './meter.ts';

/** A checkpoint to go on from. */
export interface Resumed {
  readonly bytes: Uint8Array;
  readonly soFar: TrainingSoFar;
}

/**
 * A job's checkpoints: written to the object store first, recorded on the fine-tune second, the one
 * before deleted last, so that a kill at any point leaves a recorded checkpoint that is whole.
 */
export class Checkpoints {
  private readonly store: ObjectStore;
  private readonly ledger: Ledger;
  private readonly input: FinetuneInput;
  private readonly job: ClaimedJob;
  private current: CheckpointRecord | null;

  constructor(store: ObjectStore, ledger: Ledger, input: FinetuneInput, job: ClaimedJob) {
    this.store = store;
    this.ledger = ledger;
    this.input = input;
    this.job = job;
    this.current = input.checkpoint;
  }

  /** The last recorded checkpoint; null without one, `'broken'` if its object is not as recorded. */
  async load(): Promise<Resumed | 'broken' | null> {
    const record = this.current;
    if (record === null) return null;
    const bytes = await this.read(record.key);
    if (bytes === null || sha256(bytes) !== record.sha256) return 'broken';
    return {
      bytes,
      soFar: {
        step: record.step,
        seconds: record.seconds,
        samples: record.samples,
        firstLoss: record.first_loss,
        lastLoss: record.last_loss,
      },
    };
  }

  async save(bytes: Uint8Array, soFar: TrainingSoFar): Promise<void> {
    const key = checkpointKey(this.job, soFar.step);
    const { sha256: hash } = await this.store.put(key, bytes, {
      contentType: 'application/octet-stream',
    });
    const record = {
      key,
      step: soFar.step,
      sha256: hash,
      bytes: bytes.length,
      seconds: soFar.seconds,
      samples: soFar.samples,
      first_loss: soFar.firstLoss,
      last_loss: soFar.lastLoss,
    };
    try {
      await this.ledger.recordCheckpoint(record);
    } catch (error) {
      // Whoever has the job now knows nothing of this object, and nothing else takes it away.
      if (error instanceof LeaseLost || error instanceof LeaseLostError) {
        await this.store.delete(key);
      }
      throw error;
    }
    const before = this.current;
    this.current = record;
    if (before !== null && before.key !== key) await this.store.delete(before.key);
  }

  /** Removes every object of the job, recorded or not. */
  async removeAll(): Promise<void> {
    await this.store.deletePrefix(finetunePrefix(this.input.tenantId, this.input.id));
  }

  private async read(key: string): Promise<Uint8Array | null> {
    try {
      return await this.store.get(key);
    } catch (error) {
      if (error instanceof ArmatureError && error.code === 'not_found') return null;
      throw error;
    }
  }
}

/** What was trained by an earlier attempt, or nothing. */
export function soFarOf(resumed: Resumed | null): TrainingSoFar {
  return resumed?.soFar ?? NOTHING_TRAINED;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
