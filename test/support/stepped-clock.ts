import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** A clock that is ahead of the machine's by what a file says, which another process may change at any time. */
export function steppedClock(file: string): () => Date {
  return () => new Date(Date.now() + Number(readFileSync(file, 'utf8')));
}

/** Sets every clock that goes by the file so far ahead, ms; who asks after this has returned sees it. */
export function stepClocks(file: string, aheadMs: number): void {
  // In one step, so that nobody reads half of it.
  writeFileSync(`${file}.next`, String(aheadMs));
  renameSync(`${file}.next`, file);
}
