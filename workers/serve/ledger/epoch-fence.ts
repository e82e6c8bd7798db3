import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

const lineSchema = z.object({ session: z.string(), epoch: z.number().int(), at: z.number() });
type Line = z.infer<typeof lineSchema>;

/** Longer than any session token lives. */
const KEPT_MS = 3_600_000;
/** Sessions after which old ones are cleared out. */
const SWEEP_AT = 10_000;

/**
 * Epochs that have served a chunk, kept in a file. An epoch is served by one connection only: its
 * chunks' ids count up from there, and a second connection would use them again, so that what it
 * was served would not be metered.
 */
export class EpochFence {
  private readonly file: string;
  private readonly now: () => number;
  private readonly highest = new Map<string, Line>();

  /** @param now ms since the Unix epoch. */
  constructor(dir: string, now: () => number) {
    this.file = path.join(dir, 'epochs.jsonl');
    this.now = now;
    if (existsSync(this.file)) {
      for (const line of readFileSync(this.file, 'utf8').split('\n')) this.load(line);
    }
    this.sweep();
    const kept = [...this.highest.values()].map((line) => `${JSON.stringify(line)}\n`).join('');
    writeFileSync(`${this.file}.new`, kept);
    renameSync(`${this.file}.new`, this.file);
  }

  /** Highest epoch of the session that has served a chunk here, if any has. */
  highestSpent(session: string): number | undefined {
    return this.highest.get(session)?.epoch;
  }

  spend(session: string, epoch: number): void {
    const line = { session, epoch, at: this.now() };
    appendFileSync(this.file, `${JSON.stringify(line)}\n`);
    this.highest.set(session, line);
    if (this.highest.size > SWEEP_AT) this.sweep();
  }

  private load(text: string): void {
    if (!text.endsWith('}')) return;
    const line = lineSchema.parse(JSON.parse(text));
    this.highest.set(line.session, line);
  }

  private sweep(): void {
    const oldest = this.now() - KEPT_MS;
    for (const [session, { at }] of this.highest) if (at < oldest) this.highest.delete(session);
  }
}
