import { ArmatureError, fromZodError } from '@armature/sdk/contract';
import { z } from 'zod';
import { parseJson } from './lerobot/json.ts';
import type { BlobSource } from './source/blob-source.ts';
import { readText } from './source/text-file.ts';

/** File beside recordings that do not say themselves what a data set has to say. */
export const NOTES_PATH = 'armature.json';

const names = z.array(z.string().min(1).max(120)).min(1).max(64);
/** Where a vector lies in the messages of a topic: `position`, or `data.joints` further down. */
const vectorTopic = z.strictObject({
  topic: z.string().min(1),
  field: z.string().min(1),
  names,
});

const notesSchema = z.strictObject({
  robot_type: z.string().min(1).max(120),
  fps: z.number().positive().max(1000),
  /** What the robot was told: for every episode, or by file name. */
  task: z.union([z.string().min(1), z.record(z.string(), z.string().min(1))]),
  /** HDF5: names of the dimensions. MCAP: the topics that hold them. */
  state: z.union([names, vectorTopic]),
  action: z.union([names, vectorTopic]),
  /** MCAP: topic of each camera's pictures. */
  cameras: z.record(z.string().regex(/^[A-Za-z0-9_.-]+$/), z.string().min(1)).optional(),
});
export type RecordingNotes = z.infer<typeof notesSchema>;
export type VectorTopic = z.infer<typeof vectorTopic>;

/**
 * Reads `armature.json`: rate, task, names and, for MCAP, topics, which HDF5 and MCAP recordings do
 * not carry themselves.
 * @throws ArmatureError `invalid_dataset` when it is missing or names a field that is wrong.
 */
export async function readNotes(source: BlobSource, format: string): Promise<RecordingNotes> {
  const size = await source.size(NOTES_PATH);
  if (size === null) {
    throw new ArmatureError('invalid_dataset', `a set of ${format} files needs ${NOTES_PATH}`, {
      field: NOTES_PATH,
      fix: `Add ${NOTES_PATH} with robot_type, fps, task, state and action: the files do not say these.`,
    });
  }
  const text = await readText(source, NOTES_PATH);
  const parsed = notesSchema.safeParse(parseJson(text, NOTES_PATH));
  if (parsed.success) return parsed.data;
  throw fromZodError(parsed.error, 'invalid_dataset', NOTES_PATH, NOTES_PATH);
}

/** The task of an episode by its file. @throws ArmatureError `invalid_dataset` without one. */
export function taskOf(notes: RecordingNotes, path: string): string {
  if (typeof notes.task === 'string') return notes.task;
  const task = notes.task[path];
  if (task !== undefined) return task;
  throw new ArmatureError('invalid_dataset', `${NOTES_PATH} has no task for ${path}`, {
    field: `${NOTES_PATH}.task`,
    fix: `Add ${path} to task, or give one text for all episodes.`,
  });
}
