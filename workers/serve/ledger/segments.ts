import { readdirSync } from 'node:fs';
import path from 'node:path';

const NAME = /^segment-(\d{12})\.jsonl$/;

/** Path of the spool's segment `number`. */
export function segmentPath(dir: string, number: number): string {
  return path.join(dir, `segment-${String(number).padStart(12, '0')}.jsonl`);
}

/** Numbers of the segments in a folder, oldest first. */
export function segmentNumbers(dir: string): number[] {
  return readdirSync(dir)
    .map((name) => NAME.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}
