import type { LedgerEntry } from './entry.ts';
import { ledgerEntrySchema } from './entry.ts';
import type { SpoolReader } from './spool-reader.ts';

/** Where entries go for good. Writing one twice leaves one. */
export interface LedgerSink {
  /**
   * @returns the entries that can never be written, each with the reason.
   * @throws when nothing can be written now and the same call may succeed later.
   */
  write(entries: readonly LedgerEntry[]): Promise<readonly RejectedLine[]>;
}

export interface RejectedLine {
  readonly line: string;
  readonly reason: string;
}

export interface FlusherOptions {
  readonly reader: SpoolReader;
  readonly sink: LedgerSink;
  readonly intervalMs: number;
  /** Longest pause between attempts while the sink is down, ms. */
  readonly maxBackoffMs: number;
  /** A write that takes longer counts as failed, ms; writing again is harmless. */
  readonly writeTimeoutMs: number;
  readonly onFlushed: (entries: number) => void;
  readonly onRejected: (rejected: readonly RejectedLine[]) => Promise<void>;
  readonly onError: (error: unknown, retryInMs: number) => void;
}

/** Carries the spool to the sink, batch after batch, for as long as it takes. */
export class Flusher {
  private readonly options: FlusherOptions;
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private stopped = false;
  private failures = 0;

  constructor(options: FlusherOptions) {
    this.options = options;
  }

  start(): void {
    this.schedule(this.options.intervalMs);
  }

  /** Tries to empty the spool within `timeoutMs`; whether it is empty now. */
  async flush(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      await this.drainOnce();
      if (this.options.reader.drained) return true;
      if (performance.now() >= deadline) return false;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private schedule(ms: number): void {
    if (this.stopped) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.drainOnce(), ms);
    this.timer.unref();
  }

  /** Everything there is, or until the sink fails; one at a time. */
  private drainOnce(): Promise<void> {
    this.running ??= this.drain().finally(() => {
      this.running = undefined;
      this.schedule(this.pause());
    });
    return this.running;
  }

  private async drain(): Promise<void> {
    try {
      while (!this.options.reader.drained) await this.carry();
      this.failures = 0;
    } catch (error) {
      this.failures += 1;
      this.options.onError(error, this.pause());
    }
  }

  private async carry(): Promise<void> {
    const { reader, sink, onFlushed, onRejected } = this.options;
    const read = await reader.peek();
    const { lines } = read;
    const parsed = lines.map(parseLine);
    const entries = parsed.filter((item) => 'kind' in item);
    const unreadable = parsed.filter((item) => 'line' in item);
    const refused =
      entries.length === 0 ? [] : await within(this.options.writeTimeoutMs, sink.write(entries));
    const rejected = [...unreadable, ...refused];
    if (rejected.length > 0) await onRejected(rejected);
    await reader.settle(read);
    onFlushed(lines.length - rejected.length);
  }

  private pause(): number {
    const { intervalMs, maxBackoffMs } = this.options;
    return Math.min(intervalMs * 2 ** this.failures, maxBackoffMs);
  }
}

/** @throws Error when it takes longer than `ms`. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function parseLine(line: string): LedgerEntry | RejectedLine {
  try {
    const parsed = ledgerEntrySchema.safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : { line, reason: parsed.error.message };
  } catch (error) {
    return { line, reason: String(error) };
  }
}
