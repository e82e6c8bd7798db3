import { SingleBar } from 'cli-progress';
import Table from 'cli-table3';

/** One thing that takes a while. */
export interface Progress {
  /** Share that is done, 0 to 1, and what to say beside it. */
  update(share: number, note: string): void;
  /** It is done; `note` stays beside it. */
  done(note: string): void;
}

/** Width of a task's name, so that bars stand below each other. */
const LABEL = 30;
/** Without a terminal a task says at most this often where it is. */
const LINE_EVERY_MS = 5_000;

/**
 * What the person at the terminal sees: headings, lines and bars go to standard error, tables to
 * standard output. Without a terminal a bar is a line now and then.
 */
export class Screen {
  #step = 0;
  readonly #isTerminal: boolean;
  readonly #write: (text: string) => void;

  constructor(
    isTerminal: boolean = process.stderr.isTTY,
    write: (text: string) => void = (text) => process.stderr.write(text),
  ) {
    this.#isTerminal = isTerminal;
    this.#write = write;
  }

  heading(text: string): void {
    this.#step += 1;
    const title = `${this.#step}. ${text}`;
    this.#write(this.#isTerminal ? `\n\u001B[1m${title}\u001B[0m\n` : `\n${title}\n`);
  }

  line(text: string): void {
    this.#write(`   ${text}\n`);
  }

  /** Carries on with something that takes a while; its bar ends with it, also when it fails. */
  async task<T>(label: string, work: (progress: Progress) => Promise<T>): Promise<T> {
    if (!this.#isTerminal) return work(this.#lines(label));
    const bar = this.#bar(label);
    try {
      return await work({
        update: (share, note) => bar.update(Math.floor(share * 100), { note }),
        done: (note) => bar.update(100, { note }),
      });
    } finally {
      bar.stop();
    }
  }

  /** Rows under a head; numbers stand to the right. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    const table = new Table({
      head: [...head],
      colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
      style: { head: this.#isTerminal ? ['bold'] : [], border: [], compact: true },
    });
    for (const row of rows) table.push([...row]);
    process.stdout.write(`${table.toString()}\n`);
  }

  #bar(label: string): SingleBar {
    const bar = new SingleBar({
      format: `   ${label.padEnd(LABEL)} {bar} {percentage} %  {note}`,
      barsize: 28,
      barCompleteChar: '━',
      barIncompleteChar: '─',
      hideCursor: true,
      stream: process.stderr,
      linewrap: false,
    });
    bar.start(100, 0, { note: '' });
    return bar;
  }

  #lines(label: string): Progress {
    let last = -Infinity;
    const say = (share: number, note: string): void =>
      this.line(`${label.padEnd(LABEL)} ${String(Math.floor(share * 100)).padStart(3)} %  ${note}`);
    return {
      update: (share, note) => {
        const now = performance.now();
        if (now - last < LINE_EVERY_MS) return;
        last = now;
        say(share, note);
      },
      done: (note) => say(1, note),
    };
  }
}
