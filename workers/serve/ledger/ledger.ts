import { mkdirSync, statSync } from 'node:fs';
import { appendFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { Backlog } from './backlog.ts';
import type { LedgerEntry } from './entry.ts';
import { EpochFence } from './epoch-fence.ts';
import { Flusher, type LedgerSink } from './flusher.ts';
import { segmentNumbers, segmentPath } from './segments.ts';
import { SpoolReader } from './spool-reader.ts';
import { SpoolWriter } from './spool-writer.ts';

/** How often what was recorded is carried to the database, and how soon the disk has it; ms. */
const FLUSH_MS = 1_000;
const SYNC_MS = 1_000;

export interface LedgerOptions {
  /** Folder of the spool; one process at a time. */
  readonly dir: string;
  readonly sink: LedgerSink;
  readonly log: LedgerLog;
  readonly segmentBytes?: number;
  /** What the spool may hold before no new session is taken, bytes; nothing is ever dropped. */
  readonly maxBytes?: number;
  /** How often the sink is written to, ms; 1,000 unless told. */
  readonly flushMs?: number;
  /** A write to the sink that takes longer counts as failed, ms; 40,000 unless told. */
  readonly writeTimeoutMs?: number;
  readonly onFlushed?: (entries: number) => void;
}

/** The part of a pino logger that the ledger uses. */
export interface LedgerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/**
 * What is owed and what was thought: appended to a local spool before a chunk leaves, carried to
 * the database in batches afterwards, by ids that make writing twice harmless. What an earlier
 * process left in the spool is carried first.
 */
export class Ledger {
  readonly epochs: EpochFence;
  /** What has not reached the sink. */
  readonly backlog: Pick<Backlog, 'bytes' | 'ageMs'>;
  private readonly dir: string;
  private readonly writer: SpoolWriter;
  private readonly reader: SpoolReader;
  private readonly flusher: Flusher;
  private readonly maxBytes: number;

  constructor(options: LedgerOptions) {
    const { dir, log } = options;
    mkdirSync(dir, { recursive: true });
    this.dir = dir;
    const left = segmentNumbers(dir);
    if (left.length > 0)
      log.info({ segments: left.length }, 'carrying on with a spool left behind');
    this.maxBytes = options.maxBytes ?? Infinity;
    const backlog = leftBehind(dir, left);
    this.backlog = backlog;
    this.epochs = new EpochFence(dir, Date.now);
    this.writer = new SpoolWriter({
      dir,
      firstSegment: (left.at(-1) ?? 0) + 1,
      segmentBytes: options.segmentBytes ?? 1 << 20,
      syncMs: SYNC_MS,
      onWritten: (bytes) => backlog.wrote(bytes),
      onError: (error) => log.error({ err: error }, 'the spool could not be synced to disk'),
    });
    this.reader = new SpoolReader({
      dir,
      tail: () => this.writer.tail,
      chunkBytes: 128 << 10,
      onSettled: (bytes) => backlog.settle(bytes),
      onTorn: (torn) => log.warn(torn, 'dropped a line cut short; its chunk was never sent'),
    });
    this.flusher = new Flusher({
      reader: this.reader,
      sink: options.sink,
      intervalMs: options.flushMs ?? FLUSH_MS,
      maxBackoffMs: 10_000,
      // Longer than any statement may take.
      writeTimeoutMs: options.writeTimeoutMs ?? 40_000,
      onFlushed: (entries) => options.onFlushed?.(entries),
      onRejected: async (rejected) => {
        log.error({ entries: rejected.length, first: rejected[0]?.reason }, 'entries set aside');
        const lines = rejected.map((item) => `${JSON.stringify(item)}\n`).join('');
        await appendFile(path.join(dir, 'rejected.jsonl'), lines);
      },
      onError: (error, retryInMs) =>
        log.warn({ err: error, retryInMs }, 'the ledger could not be flushed'),
    });
    this.flusher.start();
  }

  /**
   * Resolves once the entries outlive this process; only then may their chunk be sent.
   * @throws the file system's error; then nothing was recorded.
   */
  append(entries: readonly LedgerEntry[]): Promise<void> {
    return this.writer.append(entries.map((entry) => JSON.stringify(entry)));
  }

  /** Why no new session should add to what is recorded here; undefined while there is room. */
  refusal(): string | undefined {
    const { bytes, ageMs } = this.backlog;
    if (bytes < this.maxBytes) return undefined;
    return `records of ${bytes} bytes wait for the database, the oldest for ${Math.round(ageMs / 1000)} s`;
  }

  /** Whether everything recorded has reached the sink. */
  get drained(): boolean {
    return this.reader.drained;
  }

  /** Tries to carry everything to the sink within `timeoutMs`; whether all of it is there. */
  flush(timeoutMs: number): Promise<boolean> {
    return this.flusher.flush(timeoutMs);
  }

  /** Stops; what has not reached the sink stays in the spool for the next process. */
  async close(): Promise<void> {
    await this.flusher.stop();
    await this.writer.close();
    if (this.reader.drained) await rm(segmentPath(this.dir, this.writer.tail.segment));
  }
}

function leftBehind(dir: string, segments: readonly number[]): Backlog {
  const files = segments.map((number) => statSync(segmentPath(dir, number)));
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const since = files[0] === undefined ? 0 : Math.max(0, Date.now() - files[0].birthtimeMs);
  return new Backlog(bytes, since, () => performance.now());
}
