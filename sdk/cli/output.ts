import Table from 'cli-table3';
import type { ArmatureError } from '../contract/index.ts';

/** Where the command line writes: data to `out`, everything for people's eyes to `err`. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether bars and questions make sense. */
  readonly interactive: boolean;
  readonly json: boolean;
}

/** One result: JSON as it is with `--json`, else as `text` shows it. */
export function show(output: Output, value: unknown, text: () => string): void {
  output.out(output.json ? `${JSON.stringify(value, null, 2)}\n` : `${text()}\n`);
}

/** A line for people, silent with `--json`. */
export function note(output: Output, text: string): void {
  if (!output.json) output.err(`${text}\n`);
}

/** A table without lines; cells that are null show a dash. */
export function table(
  head: readonly string[],
  rows: readonly (readonly (string | number | null)[])[],
): string {
  if (rows.length === 0) return `(none)`;
  const drawn = new Table({
    head: [...head],
    chars: Object.fromEntries(PARTS.map((part) => [part, ''])),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  drawn.push(...rows.map((row) => row.map((cell) => (cell === null ? '-' : printable(cell)))));
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Field and value, one a line. */
export function fields(entries: readonly (readonly [string, string | number | null])[]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries
    .map(([name, value]) => `${name.padEnd(width)}  ${value === null ? '-' : printable(value)}`)
    .join('\n');
}

/** An error with its code, field and fix; with `--json` as one JSON line. */
export function showError(output: Output, error: ArmatureError): void {
  if (output.json) {
    const { code, message, field, fix, limit, retryAfterS, requestId } = error;
    const told = { code, message, field, fix, limit, retry_after_s: retryAfterS };
    output.err(`${JSON.stringify({ error: { ...told, request_id: requestId } })}\n`);
    return;
  }
  const lines = [
    `error: ${error.message}`,
    `  code   ${error.code}`,
    ...(error.field === undefined ? [] : [`  field  ${error.field}`]),
    ...(error.fix === undefined ? [] : [`  fix    ${error.fix}`]),
    ...(error.limit === undefined ? [] : [`  limit  ${error.limit}`]),
    ...(error.retryAfterS === undefined ? [] : [`  retry  in ${error.retryAfterS} s`]),
    ...(error.requestId === undefined ? [] : [`  request  ${error.requestId}`]),
  ];
  output.err(`${lines.map(printable).join('\n')}\n`);
}

/** Text of a server or a file without the control characters that steer a terminal. */
export function printable(value: string | number): string {
  return String(value).replaceAll(/\p{Cc}/gu, (c) => (c === '\n' || c === '\t' ? ' ' : '�'));
}

/** Bytes with a unit. */
export function bytes(count: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** Seconds as `1 h 2 min`, `3 min 4 s` or `5 s`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '-';
  const s = Math.max(0, Math.round(seconds));
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return s >= 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s} s`;
}

const PARTS = [
  'top',
  'top-mid',
  'top-left',
  'top-right',
  'bottom',
  'bottom-mid',
  'bottom-left',
  'bottom-right',
  'left',
  'left-mid',
  'mid',
  'mid-mid',
  'right',
  'right-mid',
  'middle',
] as const;
