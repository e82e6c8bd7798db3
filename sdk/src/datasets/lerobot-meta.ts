import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { ArmatureError, fromZodError } from '../../contract/index.ts';
import { parseJson } from '../answers.ts';

const featureSchema = z.looseObject({
  dtype: z.string(),
  shape: z.array(z.number().int().nonnegative()),
  names: z.unknown(),
});
const infoSchema = z.looseObject({
  codebase_version: z.string(),
  robot_type: z.string().nullish(),
  fps: z.number().positive(),
  total_episodes: z.number().int(),
  features: z.record(z.string(), featureSchema),
});
const rangeSchema = z.looseObject({
  min: z.array(z.number()),
  max: z.array(z.number()),
});
const statsSchema = z.record(z.string(), z.looseObject({ min: z.unknown(), max: z.unknown() }));

export type LeRobotInfo = z.infer<typeof infoSchema>;
export type LeRobotFeature = z.infer<typeof featureSchema>;

export interface Range {
  readonly min: readonly number[];
  readonly max: readonly number[];
}

/** meta/info.json of a data set. @throws ArmatureError `invalid_dataset`, `empty_dataset`. */
export async function readInfo(dir: string): Promise<LeRobotInfo> {
  const text = await readMeta(dir, 'info.json');
  if (text === undefined) throw missing('meta/info.json', dir);
  const parsed = infoSchema.safeParse(parseJson(text));
  if (!parsed.success) throw fromZodError(parsed.error, 'invalid_dataset', 'meta/info.json');
  if (parsed.data.total_episodes === 0) {
    throw new ArmatureError('empty_dataset', `${dir} has no episodes`, {
      field: 'meta/info.json.total_episodes',
      fix: 'Record at least one episode.',
    });
  }
  return parsed.data;
}

/**
 * Smallest and largest value of a feature over all episodes: from meta/episodes_stats.jsonl (v2.1)
 * or meta/stats.json (v2.0, v3.0).
 * @throws ArmatureError `invalid_dataset` where neither says it.
 */
export async function readRange(dir: string, feature: string): Promise<Range> {
  const perEpisode = await readMeta(dir, 'episodes_stats.jsonl');
  if (perEpisode !== undefined) {
    const ranges = perEpisode
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line, i) => {
        const episode = z.looseObject({ stats: statsSchema }).safeParse(parseJson(line));
        return range(
          episode.success ? episode.data.stats[feature] : undefined,
          `meta/episodes_stats.jsonl[${i}].stats.${feature}`,
        );
      });
    return ranges.reduce((all, one) => ({
      min: all.min.map((value, i) => Math.min(value, one.min[i] ?? value)),
      max: all.max.map((value, i) => Math.max(value, one.max[i] ?? value)),
    }));
  }
  const whole = await readMeta(dir, 'stats.json');
  if (whole === undefined) throw missing('meta/episodes_stats.jsonl', dir);
  const stats = statsSchema.safeParse(parseJson(whole));
  return range(stats.success ? stats.data[feature] : undefined, `meta/stats.json.${feature}`);
}

function range(value: unknown, field: string): Range {
  const parsed = rangeSchema.safeParse(value);
  if (parsed.success && parsed.data.min.length === parsed.data.max.length) return parsed.data;
  throw new ArmatureError('invalid_dataset', `${field} has no min and max`, {
    field,
    fix: 'Write the statistics of the data set again with the tool that recorded it.',
  });
}

async function readMeta(dir: string, name: string): Promise<string | undefined> {
  try {
    return await readFile(join(dir, 'meta', name), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function missing(path: string, dir: string): ArmatureError {
  return new ArmatureError('invalid_dataset', `${dir} has no ${path}`, {
    field: path,
    fix: 'Give the folder of a LeRobot data set, the one that holds meta/info.json.',
  });
}
