import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { SESSION_TOKEN_MAX_LIFE_S } from '@armature/sdk/contract';
import { z } from 'zod';

const lineSchema = z.object({ session: z.string(), epoch: z.number().int(), at: z.number() });
type Line = z.infer<typeof lineSchema>;

/** Longer than any session token is taken for, clocks that differ included. */
const KEPT_MS = (SESSION_TOKEN_MAX_LIFE_S + 60) * 1000;
/** Spent of a session that has ended. */
const EVERY_EPOCH = Number.MAX_SAFE_INTEGER;
/** Sessions after which old ones are cleared out. */
const SWEEP_AT = 10_000;

/**
 * Epochs that were opened, or gone on in by a token's renewal, kept in a file until no token of theirs
 * is left. An epoch is opened once: a token that was stolen is worth nothing after its robot's use of
 * it, and ids of chunks, which count up in an epoch, are never used again, so that all is metered.
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

  /** Highest epoch of the session that was opened here, if any was. */
  highestSpent(session: string): number | undefined {
    return this.highest.get(session)?.epoch;
  }

  /** Spends every epoch of a session that has ended; again changes nothing. */
  end(session: string): void {
    if (!this.hasEnded(session)) this.spend(session, EVERY_EPOCH);
  }

  hasEnded(session: string): boolean {
    return this.highestSpent(session) === EVERY_EPOCH;
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
