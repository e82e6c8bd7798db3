import { closeSync, fdatasync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { segmentPath } from './segments.ts';

const sync = promisify(fdatasync);

export interface SpoolWriterOptions {
  readonly dir: string;
  readonly firstSegment: number;
  /** A segment that has grown past this is closed and the next one begun. */
  readonly segmentBytes: number;
  /** What is written reaches the disk within this time, ms. */
  readonly syncMs: number;
  readonly onWritten: (bytes: number) => void;
  readonly onError: (error: unknown) => void;
}

/**
 * Appends lines to the newest segment. `append` resolves once the line is with the operating system:
 * it then survives this process, killed or not; the disk has it `syncMs` later at the latest, which
 * is what a power cut may cost. Lines of one turn of the event loop are written in one call.
 */
export class SpoolWriter {
  private readonly options: SpoolWriterOptions;
  private fd: number;
  private number: number;
  private length = 0;
  private turn: { lines: string[]; done: Promise<void> } | undefined;
  private dirty = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(options: SpoolWriterOptions) {
    this.options = options;
    this.number = options.firstSegment;
    this.fd = openSync(segmentPath(options.dir, this.number), 'wx');
  }

  /** The segment being written and how many bytes of it hold whole lines. */
  get tail(): { readonly segment: number; readonly length: number } {
    return { segment: this.number, length: this.length };
  }

  /** @throws the file system's error (a full disk); then no part of the line is in the spool. */
  append(lines: readonly string[]): Promise<void> {
    if (this.turn === undefined) {
      const turn: string[] = [];
      const done = Promise.resolve().then(() => this.write(turn));
      this.turn = { lines: turn, done };
    }
    this.turn.lines.push(...lines);
    return this.turn.done;
  }

  async close(): Promise<void> {
    await this.turn?.done;
    clearTimeout(this.timer);
    this.timer = undefined;
    await sync(this.fd);
    closeSync(this.fd);
  }

  private write(lines: readonly string[]): void {
    this.turn = undefined;
    const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
    try {
      for (let at = 0; at < bytes.length;) at += writeSync(this.fd, bytes, at);
    } catch (error) {
      ftruncateSync(this.fd, this.length);
      throw error;
    }
    this.length += bytes.length;
    this.options.onWritten(bytes.length);
    this.dirty = true;
    if (this.length >= this.options.segmentBytes) this.rotate();
    this.timer ??= setTimeout(() => void this.syncNow(), this.options.syncMs);
  }

  /** Where the next segment cannot be opened, this one grows on. */
  private rotate(): void {
    const full = this.fd;
    try {
      this.fd = openSync(segmentPath(this.options.dir, this.number + 1), 'wx');
    } catch (error) {
      this.options.onError(error);
      return;
    }
    this.number += 1;
    this.length = 0;
    void sync(full)
      .catch(this.options.onError)
      .finally(() => closeSync(full));
  }

  private async syncNow(): Promise<void> {
    this.timer = undefined;
    if (!this.dirty) return;
    this.dirty = false;
    await sync(this.fd).catch(this.options.onError);
  }
}
