import {
  appendEvents,
  and,
  type ClaimedJob,
  datasetFiles,
  datasets,
  type Db,
  embodiments,
  eq,
  holdLease,
  type JobOutcome,
  type NewJobEvent,
  settle,
  type Tx,
  withTenant,
} from '@armature/db';
import {
  ArmatureError,
  type DatasetFile,
  type DatasetReport,
  type EmbodimentSpec,
  embodimentSpecSchema,
} from '@armature/sdk/contract';

export interface IngestInput {
  /** Key prefix of the files, ending in `/`. */
  readonly prefix: string;
  readonly spec: EmbodimentSpec;
  readonly files: readonly DatasetFile[];
  /** Episodes that the tenant has left out. */
  readonly without: readonly number[];
}

/**
 * All that a running validation reads from and writes to the database. Every write locks the job by
 * its fence first: a worker that lost its lease writes nothing (`LeaseLostError`).
 */
export class Ledger {
  readonly #db: Db;
  readonly #job: ClaimedJob;

  constructor(db: Db, job: ClaimedJob) {
    this.#db = db;
    this.#job = job;
  }

  /** @throws ArmatureError `not_found` when data set or embodiment are gone. */
  async input(): Promise<IngestInput> {
    const { tenantId, subjectId } = this.#job;
    return await withTenant(this.#db, tenantId, async (tx) => {
      const [row] = await tx
        .select({
          prefix: datasets.prefix,
          without: datasets.excludedEpisodes,
          spec: embodiments.spec,
        })
        .from(datasets)
        .innerJoin(
          embodiments,
          and(eq(embodiments.id, datasets.embodimentId), eq(embodiments.tenantId, tenantId)),
        )
        .where(and(eq(datasets.tenantId, tenantId), eq(datasets.id, subjectId)));
      if (row === undefined) {
        throw new ArmatureError('not_found', `there is no data set ${subjectId}`);
      }
      const files = await tx
        .select({ path: datasetFiles.path, size: datasetFiles.size, sha256: datasetFiles.sha256 })
        .from(datasetFiles)
        .where(and(eq(datasetFiles.tenantId, tenantId), eq(datasetFiles.datasetId, subjectId)));
      const { prefix, without } = row;
      return { prefix, without, spec: embodimentSpecSchema.parse(row.spec), files };
    });
  }

  async start(): Promise<void> {
    await this.#write(async (tx) => {
      await this.#update(tx, { progress: 0, report: null });
      await appendEvents(tx, this.#job.subjectId, [
        { kind: 'status', message: 'validating', data: { attempt: this.#job.attempt } },
      ]);
    });
  }

  async progress(progress: number): Promise<void> {
    await this.#write((tx) => this.#update(tx, { progress }));
  }

  /** Report, status and the job's end, all or nothing. */
  async finish(
    report: DatasetReport,
    status: 'ready' | 'rejected',
    outcome: Exclude<JobOutcome, { status: 'queued' | 'paused' }> = { status: 'succeeded' },
  ): Promise<void> {
    const errors = report.findings.filter((finding) => finding.severity === 'error').length;
    const warnings = report.findings.length - errors;
    await this.#write(async (tx) => {
      await this.#update(tx, { report, status, progress: 1 });
      await appendEvents(tx, this.#job.subjectId, [
        { kind: 'status', message: status, data: { errors, warnings } },
      ]);
      await settle(tx, this.#job, outcome);
    });
  }

  /**
   * Gives the job back to the queue; the data set stays `validating`.
   * @param event carries `endOfAttempt`.
   */
  async release(delayMs: number, event: NewJobEvent): Promise<void> {
    await this.#write(async (tx) => {
      await this.#update(tx, { progress: 0 });
      await appendEvents(tx, this.#job.subjectId, [event]);
      await settle(tx, this.#job, { status: 'queued', delayMs });
    });
  }

  async #write(work: (tx: Tx) => Promise<void>): Promise<void> {
    await withTenant(this.#db, this.#job.tenantId, async (tx) => {
      await holdLease(tx, this.#job);
      await work(tx);
    });
  }

  async #update(
    tx: Tx,
    values: Parameters<ReturnType<typeof tx.update<typeof datasets>>['set']>[0],
  ): Promise<void> {
    const { tenantId, subjectId } = this.#job;
    await tx
      .update(datasets)
      .set(values)
      .where(and(eq(datasets.tenantId, tenantId), eq(datasets.id, subjectId)));
  }
}
