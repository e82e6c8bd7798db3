import { z } from 'zod';
import { ArmatureError, fromZodError } from '@armature/sdk/contract';
import type { BlobSource } from '../source/blob-source.ts';
import { parseJson } from './json.ts';

export const taskLineSchema = z.looseObject({
  task_index: z.number().int().nonnegative(),
  task: z.string(),
});

export const episodeLineSchema = z.looseObject({
  episode_index: z.number().int().nonnegative(),
  tasks: z.array(z.string()),
  length: z.number().int().nonnegative(),
});

/** Sentences of one episode; a file of Armature's own that other readers of LeRobot pass over. */
export const labelLineSchema = z.strictObject({
  episode_index: z.number().int().nonnegative(),
  labels: z.array(
    z.strictObject({
      from: z.number().int().nonnegative(),
      to: z.number().int().positive(),
      text: z.string().min(1),
      source: z.string().min(1),
    }),
  ),
});

export const TASKS_PATH = 'meta/tasks.jsonl';
export const EPISODES_PATH = 'meta/episodes.jsonl';
export const LABELS_PATH = 'meta/labels.jsonl';

/** Reads a file of JSON lines. @throws ArmatureError `invalid_dataset` naming file, line, field. */
export async function readLines<T extends z.ZodType>(
  source: BlobSource,
  path: string,
  schema: T,
): Promise<z.infer<T>[]> {
  const text = await readText(source, path);
  const items: z.infer<T>[] = [];
  text.split('\n').forEach((line, index) => {
    if (line.trim() === '') return;
    const parsed = schema.safeParse(parseJson(line, path, index + 1));
    if (!parsed.success) {
      throw fromZodError(parsed.error, 'invalid_dataset', `${path} line ${index + 1}`, path);
    }
    items.push(parsed.data);
  });
  return items;
}

/** @throws ArmatureError `invalid_dataset` when the file is missing or no UTF-8. */
export async function readText(source: BlobSource, path: string): Promise<string> {
  if ((await source.size(path)) === null) {
    throw new ArmatureError('invalid_dataset', `the data set has no ${path}`, {
      field: path,
      fix: `Add ${path}; a LeRobot v2.1 data set has it.`,
    });
  }
  const bytes = await source.read(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ArmatureError('invalid_dataset', `${path} is no UTF-8 text`, {
      field: path,
      fix: `Write ${path} again as UTF-8.`,
      cause: error,
    });
  }
}
