import { z } from 'zod';
import { fromZodError } from '@armature/sdk/contract';
import type { BlobSource } from '../source/blob-source.ts';
import { readTextLines } from '../source/text-file.ts';
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

/** Reads a file of JSON lines. @throws ArmatureError naming file, line, field. */
export async function readLines<T extends z.ZodType>(
  source: BlobSource,
  path: string,
  schema: T,
): Promise<z.infer<T>[]> {
  const items: z.infer<T>[] = [];
  let number = 0;
  for await (const line of readTextLines(source, path)) {
    number += 1;
    if (line.trim() === '') continue;
    const parsed = schema.safeParse(parseJson(line, path, number));
    if (!parsed.success) {
      throw fromZodError(parsed.error, 'invalid_dataset', `${path} line ${number}`, path);
    }
    items.push(parsed.data);
  }
  return items;
}
