import { InvalidArgumentError, Option, type Command } from 'commander';

/** Numbers that a run may stand for. */
const MOST_OF_A_RUN = 10_000;

/** A whole number of at least `min`. */
export function integer(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isSafeInteger(value) && value >= min) return value;
    throw new InvalidArgumentError(`It must be a whole number of at least ${min}.`);
  };
}

/** A number of at least `min`. */
export function decimal(min: number): (text: string) => number {
  return (text) => {
    const value = numberFrom(text, min);
    if (value !== undefined) return value;
    throw new InvalidArgumentError(`It must be a number of at least ${min}.`);
  };
}

function numberFrom(text: string, min: number): number | undefined {
  const value = Number(text);
  return text.trim() !== '' && Number.isFinite(value) && value >= min ? value : undefined;
}

/** Whole numbers of at least 1, with commas between. */
export function integers(text: string): number[] {
  return text.split(',').map(integer(1));
}

/** Numbers of at least 0 and runs of them, with commas between: `3,20-24`. */
export function numbersAndRuns(text: string): number[] {
  const number = integer(0);
  return text.split(',').flatMap((part) => {
    const [from, to = from, ...more] = part.split('-').map((end) => number(end));
    const length = (to ?? 0) - (from ?? 0) + 1;
    if (from === undefined || more.length > 0 || length < 1 || length > MOST_OF_A_RUN) {
      throw new InvalidArgumentError('It must be numbers and runs of them, such as 3,20-24.');
    }
    return Array.from({ length }, (_, i) => from + i);
  });
}

/** A number of at least 0, or null for the word that stands for none. */
export function numberOr(word: string): (text: string) => number | null {
  return (text) => {
    const value = text === word ? null : numberFrom(text, 0);
    if (value !== undefined) return value;
    throw new InvalidArgumentError(`It must be a number of at least 0, or ${word}.`);
  };
}

/** One of the words that a schema knows. */
export function oneOf<T extends string>(schema: {
  readonly options: readonly T[];
}): (text: string) => T {
  return (text) => {
    const found = schema.options.find((word) => word === text);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`It must be one of ${schema.options.join(', ')}.`);
  };
}

/** An option that takes one of the given words. */
export function choice(flags: string, description: string, words: readonly string[]): Option {
  return new Option(flags, description).choices(words);
}

export interface PageOptions {
  readonly limit?: number;
  readonly cursor?: string;
  readonly all?: true;
}

/** The options of a command that lists. */
export function paged(command: Command): Command {
  return command
    .option('--limit <n>', 'items a page, 1 to 200', integer(1))
    .option('--cursor <cursor>', 'next_cursor of the page before')
    .option('--all', 'every page');
}

/** Fields that are undefined left out. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
