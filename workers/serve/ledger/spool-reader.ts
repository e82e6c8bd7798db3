import { open, rm } from 'node:fs/promises';
import { segmentNumbers, segmentPath } from './segments.ts';

export interface SpoolPosition {
  readonly segment: number;
  readonly offset: number;
}

export interface SpoolRead {
  readonly lines: readonly string[];
  /** Where reading goes on once these lines are settled. */
  readonly next: SpoolPosition;
  /** From here to there. */
  readonly bytes: number;
}

export interface SpoolReaderOptions {
  readonly dir: string;
  /** The segment being written and its whole lines; earlier segments are complete. */
  readonly tail: () => { readonly segment: number; readonly length: number };
  readonly chunkBytes: number;
  readonly onSettled: (bytes: number) => void;
  /** A line cut short at the end of a segment: its writer died before anyone was told of it. */
  readonly onTorn: (torn: { readonly segment: number; readonly bytes: number }) => void;
}

/** Reads a spool from its oldest segment on, and deletes what is settled. */
export class SpoolReader {
  private readonly options: SpoolReaderOptions;
  private position: SpoolPosition;

  constructor(options: SpoolReaderOptions) {
    this.options = options;
    this.position = {
      segment: segmentNumbers(options.dir)[0] ?? options.tail().segment,
      offset: 0,
    };
  }

  /** Whether every whole line has been settled. */
  get drained(): boolean {
    const { segment, length } = this.options.tail();
    return this.position.segment === segment && this.position.offset === length;
  }

  /** The next lines, without moving on; empty where there are none yet. */
  async peek(): Promise<SpoolRead> {
    const { segment, offset } = this.position;
    const tail = this.options.tail();
    const file = await open(segmentPath(this.options.dir, segment), 'r');
    try {
      const end = segment === tail.segment ? tail.length : (await file.stat()).size;
      const chunk = await wholeLines(file, offset, end, this.options.chunkBytes);
      const reached = offset + chunk.bytes;
      if (segment === tail.segment || (reached < end && chunk.bytes > 0)) {
        return { lines: chunk.lines, next: { segment, offset: reached }, bytes: chunk.bytes };
      }
      if (reached < end) this.options.onTorn({ segment, bytes: end - reached });
      const next = { segment: this.following(segment), offset: 0 };
      return { lines: chunk.lines, next, bytes: end - offset };
    } finally {
      await file.close();
    }
  }

  /** What was peeked is settled: segments before `next` are deleted. */
  async settle({ next, bytes }: SpoolRead): Promise<void> {
    const done = this.position.segment;
    this.position = next;
    this.options.onSettled(bytes);
    if (done !== next.segment) await rm(segmentPath(this.options.dir, done));
  }

  private following(segment: number): number {
    const later = segmentNumbers(this.options.dir).find((number) => number > segment);
    return later ?? this.options.tail().segment;
  }
}

/** Whole lines from `offset`, at most `limit` bytes of them or one longer line. */
async function wholeLines(
  file: Awaited<ReturnType<typeof open>>,
  offset: number,
  end: number,
  limit: number,
): Promise<{ lines: string[]; bytes: number }> {
  for (
    let size = Math.min(limit, end - offset);
    size > 0;
    size = Math.min(size * 2, end - offset)
  ) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, offset);
    const bytes = buffer.subarray(0, bytesRead).lastIndexOf(0x0a) + 1;
    if (bytes > 0) {
      return { lines: buffer.toString('utf8', 0, bytes - 1).split('\n'), bytes };
    }
    if (size === end - offset) break;
  }
  return { lines: [], bytes: 0 };
}
