import type {
  CodeVersion,
  DataVersion,
  Evaluation,
  FinetuneStatus,
  HeldoutScore,
  Problem,
  trainSummarySchema,
} from '@armature/sdk/contract';
import {
  and,
  appendEvents,
  eq,
  finetunes,
  holdLease,
  jobs,
  newId,
  policyVersions,
  settle,
  sql,
  withTenant,
  writeTrainingUsage,
  type ClaimedJob,
  type Db,
  type JobOutcome,
  type NewJobEvent,
  type Tx,
} from '@armature/db';
import type { z } from 'zod';
import { readInput, type CheckpointRecord, type FinetuneInput } from './input.ts';
import { endOfAttempt } from '../../jobs/past-attempts.ts';
import { CancelRequested, PauseRequested } from '../../jobs/reasons.ts';

export type RunningStatus = Extract<FinetuneStatus, 'running' | 'evaluating' | 'packaging'>;

export type TrainSummary = z.infer<typeof trainSummarySchema>;

/** A policy version whose objects are in place. */
export interface NewVersion {
  readonly digest: string;
  readonly prefix: string;
  readonly statsHash: string;
  readonly preprocessHash: string;
  readonly mode: string;
  readonly sampler: { readonly steps: number; readonly noise_scale: number };
  readonly prefixDelayMax: number;
  readonly bytes: number;
}

/** The same with what it was made from and by, and what it scored. */
export interface MadeVersion extends NewVersion {
  readonly data: readonly (DataVersion & { readonly dataset_id: string })[];
  readonly code: CodeVersion;
  readonly heldout: HeldoutScore | null;
}

/** An error as the fine-tune's row keeps it. */
export type JobProblem = Pick<Problem, 'code' | 'field' | 'fix'> & { message: string };

/**
 * All that a running fine-tune writes to the database. Every write locks the job by its fence first,
 * so a worker that lost its lease writes nothing (`LeaseLostError`), and one whose job is to be
 * cancelled stops at its next write (`CancelRequested`). One that is to be paused stops where its
 * next part would begin (`PauseRequested`), or with its lease's signal, once a checkpoint is saved.
 */
export class Ledger {
  private readonly db: Db;
  private readonly job: ClaimedJob;
  private readonly elapsedMs: () => number;

  /** @param elapsedMs how long the attempt has kept its worker busy. */
  constructor(db: Db, job: ClaimedJob, elapsedMs: () => number) {
    this.db = db;
    this.job = job;
    this.elapsedMs = elapsedMs;
  }

  async input(): Promise<FinetuneInput> {
    return withTenant(this.db, this.job.tenantId, (tx) =>
      readInput(tx, this.job.tenantId, this.job.subjectId),
    );
  }

  /**
   * Moves to the next status, with an event that says so.
   * @throws PauseRequested
   */
  async enter(status: RunningStatus, progress: number, message: string): Promise<void> {
    await this.write(async (tx) => {
      if (await this.isToPause(tx)) throw new PauseRequested();
      await this.update(tx, { status, progress });
      await appendEvents(tx, this.job.subjectId, [{ kind: 'status', message }]);
    });
  }

  /** @param etaS seconds until the whole job is expected to end, where that is known. */
  async note(event: NewJobEvent, progress?: number, etaS?: number): Promise<void> {
    await this.write(async (tx) => {
      if (progress !== undefined) {
        const etaAt = sql`now() + ${etaS ?? 0} * interval '1 second'`;
        await this.update(tx, { progress, ...(etaS === undefined ? {} : { etaAt }) });
      }
      await appendEvents(tx, this.job.subjectId, [event]);
    });
  }

  /** Points the fine-tune at a checkpoint that lies in the object store. */
  async recordCheckpoint(checkpoint: CheckpointRecord): Promise<void> {
    await this.write(async (tx) => {
      await this.update(tx, { checkpoint });
      await appendEvents(tx, this.job.subjectId, [
        {
          kind: 'checkpoint',
          message: `checkpoint at step ${checkpoint.step}`,
          data: { step: checkpoint.step, bytes: checkpoint.bytes },
        },
      ]);
    });
  }

  /** Registers the version and ends the job, all or nothing; returns the version's id. */
  async succeed(
    input: FinetuneInput,
    version: MadeVersion,
    train: TrainSummary | null,
    evaluation: Evaluation | null,
  ): Promise<string> {
    const id = newId('pv');
    await this.write(async (tx) => {
      await tx.insert(policyVersions).values({
        id,
        tenantId: this.job.tenantId,
        embodimentId: input.embodimentId,
        finetuneId: input.id,
        name: input.name,
        ...version,
      });
      await this.update(tx, {
        status: 'succeeded',
        progress: 1,
        train,
        evaluation,
        error: null,
        checkpoint: null,
        etaAt: null,
        policyVersionId: id,
        finishedAt: sql`now()`,
      });
      await appendEvents(tx, this.job.subjectId, [
        { kind: 'status', message: `succeeded: policy version ${id}` },
      ]);
      await this.settle(tx, { status: 'succeeded' });
    });
    return id;
  }

  /** Ends the job for what is ours; a retry may go on from the last checkpoint. */
  async fail(error: JobProblem): Promise<void> {
    await this.endFor('failed', error);
  }

  /** Ends the job for what the tenant can mend, which makes other weights: no checkpoint is kept. */
  async userError(error: JobProblem): Promise<void> {
    await this.endFor('user_error', error);
  }

  private async endFor(status: 'failed' | 'user_error', error: JobProblem): Promise<void> {
    await this.end(async (tx) => {
      await this.update(tx, {
        status,
        error,
        ...(status === 'failed' ? {} : { checkpoint: null }),
        etaAt: null,
        finishedAt: sql`now()`,
      });
      await appendEvents(tx, this.job.subjectId, [
        { kind: 'error', message: error.message },
        { kind: 'status', message: status },
      ]);
      await this.settle(tx, { status: 'failed', error });
    });
  }

  async cancelled(): Promise<void> {
    await this.end(async (tx) => {
      await this.update(tx, {
        status: 'cancelled',
        checkpoint: null,
        etaAt: null,
        finishedAt: sql`now()`,
      });
      await appendEvents(tx, this.job.subjectId, [{ kind: 'status', message: 'cancelled' }]);
      await this.settle(tx, { status: 'cancelled' });
    });
  }

  /**
   * Sets the job aside until it is resumed; its checkpoint stays.
   * @throws CancelRequested when it was cancelled meanwhile
   */
  async paused(): Promise<void> {
    await this.write(async (tx) => {
      await this.update(tx, { status: 'paused', etaAt: null });
      await appendEvents(tx, this.job.subjectId, [
        { kind: 'status', message: 'paused', data: endOfAttempt(this.job, 'given back') },
      ]);
      await this.settle(tx, { status: 'paused' });
    });
  }

  /**
   * Gives the job back to the queue; its checkpoint stays, and so does what was asked of it.
   * @param event carries `endOfAttempt`.
   */
  async release(delayMs: number, event: NewJobEvent): Promise<void> {
    await this.end(async (tx) => {
      const [row] = await tx
        .select({ status: finetunes.status })
        .from(finetunes)
        .where(
          and(eq(finetunes.tenantId, this.job.tenantId), eq(finetunes.id, this.job.subjectId)),
        );
      const asked = row?.status === 'pausing' || row?.status === 'cancelling';
      await this.update(tx, { etaAt: null, ...(asked ? {} : { status: 'queued' }) });
      await appendEvents(tx, this.job.subjectId, [event]);
      await this.settle(tx, { status: 'queued', delayMs });
    });
  }

  /** Calls `remove` unless a version is registered with `prefix`; meanwhile no other worker gets the job. */
  async unlessRegistered(prefix: string, remove: () => Promise<unknown>): Promise<void> {
    await this.end(async (tx) => {
      const [row] = await tx
        .select({ id: policyVersions.id })
        .from(policyVersions)
        .where(
          and(eq(policyVersions.tenantId, this.job.tenantId), eq(policyVersions.prefix, prefix)),
        );
      if (row === undefined) await remove();
    });
  }

  private async write(work: (tx: Tx) => Promise<void>): Promise<void> {
    await this.end(async (tx) => {
      const [row] = await tx
        .select({ cancel: jobs.cancelRequested })
        .from(jobs)
        .where(and(eq(jobs.tenantId, this.job.tenantId), eq(jobs.id, this.job.id)));
      if (row?.cancel === true) throw new CancelRequested();
      await work(tx);
    });
  }

  private async isToPause(tx: Tx): Promise<boolean> {
    const [row] = await tx
      .select({ pause: jobs.pauseRequested })
      .from(jobs)
      .where(and(eq(jobs.tenantId, this.job.tenantId), eq(jobs.id, this.job.id)));
    return row?.pause === true;
  }

  private async end(work: (tx: Tx) => Promise<void>): Promise<void> {
    await withTenant(this.db, this.job.tenantId, async (tx) => {
      await holdLease(tx, this.job);
      await work(tx);
    });
  }

  /** Ends the attempt, with what it has taken. */
  private async settle(tx: Tx, outcome: JobOutcome): Promise<void> {
    const { id, attempt, tenantId, subjectId } = this.job;
    await settle(tx, this.job, outcome);
    await writeTrainingUsage(tx, {
      id: `${id}:${attempt}`,
      tenantId,
      finetuneId: subjectId,
      computeUs: Math.round(this.elapsedMs() * 1000),
    });
  }

  private async update(
    tx: Tx,
    values: Omit<Parameters<ReturnType<typeof tx.update<typeof finetunes>>['set']>[0], 'status'> & {
      status?: FinetuneStatus;
    },
  ): Promise<void> {
    await tx
      .update(finetunes)
      .set(values)
      .where(and(eq(finetunes.tenantId, this.job.tenantId), eq(finetunes.id, this.job.subjectId)));
  }
}
