import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { PlatformError } from './errors.ts';

/**
 * The file's content, or undefined where there is no file.
 * @throws PlatformError when the file holds something else than `schema` describes.
 */
export function readJson<T extends z.ZodType>(file: string, schema: T): z.output<T> | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  const parsed = schema.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  throw new PlatformError(`${file} is damaged: ${z.prettifyError(parsed.error)}`, {
    fix: `Restore ${file} from a copy, or start with another --dir.`,
  });
}

/** Writes the whole file or nothing; only its owner may read it. */
export function writeJson(file: string, value: unknown): void {
  const partial = `${file}.${process.pid}.partial`;
  writeFileSync(partial, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(partial, file);
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return `not JSON: ${String(error)}`;
  }
}
