import { z } from 'zod';
import { ArmatureError, fromZodError } from '@armature/sdk/contract';
import type { Camera } from '../dataset.ts';
import { parseJson } from './json.ts';
import { fillPath } from './path-template.ts';

const featureSchema = z.looseObject({
  dtype: z.string(),
  shape: z.array(z.number().int().positive()),
  /** A list, a list in a list, or groups such as `{motors: […]}`. */
  names: z.unknown(),
  info: z.record(z.string(), z.unknown()).nullish(),
});
export type Feature = z.infer<typeof featureSchema>;

const infoSchema = z.looseObject({
  codebase_version: z.string(),
  robot_type: z.string().nullish(),
  total_episodes: z.number().int().nonnegative(),
  total_frames: z.number().int().nonnegative(),
  chunks_size: z.number().int().positive(),
  fps: z.number().positive(),
  data_path: z.string(),
  video_path: z.string().nullish(),
  features: z.record(z.string(), featureSchema),
});
export type Info = z.infer<typeof infoSchema>;

export const INFO_PATH = 'meta/info.json';
export const STATE_FEATURE = 'observation.state';
export const ACTION_FEATURE = 'action';

/** @throws ArmatureError `invalid_dataset` naming the first wrong field of `meta/info.json`. */
export function parseInfo(text: string): Info {
  const parsed = infoSchema.safeParse(parseJson(text, INFO_PATH));
  if (!parsed.success) {
    throw fromZodError(parsed.error, 'invalid_dataset', INFO_PATH, INFO_PATH);
  }
  return parsed.data;
}

/**
 * Names of a feature's dimensions. LeRobot writes them flat, nested or grouped; a feature without
 * any gets `<feature>[0]`, `<feature>[1]`, …
 */
export function dimensionNames(key: string, feature: Feature): string[] {
  const names = flatten(feature.names);
  if (names.length > 0) return names;
  const count = feature.shape.reduce((product, size) => product * size, 1);
  return Array.from({ length: count }, (_, index) => `${key}[${index}]`);
}

function flatten(names: unknown): string[] {
  if (typeof names === 'string') return [names];
  if (Array.isArray(names)) return names.flatMap(flatten);
  if (typeof names === 'object' && names !== null) return Object.values(names).flatMap(flatten);
  return [];
}

/** A camera for every feature that is stored as a video, or as pictures in the table. */
export function camerasOf(info: Info): Camera[] {
  return Object.entries(info.features)
    .filter(([, { dtype }]) => dtype === 'video' || dtype === 'image')
    .map(([key, feature]) => {
      const codec = feature.info?.['video.codec'];
      return {
        name: key.replace(/^observation\.(images\.)?/, ''),
        feature: key,
        ...pictureSize(feature),
        codec: typeof codec === 'string' ? codec : null,
      };
    });
}

/** Shapes are [height, width, channels] or [channels, height, width]; `names` says which. */
function pictureSize(feature: Feature): { width: number; height: number } {
  const names = flatten(feature.names);
  const [first = 0, second = 0, third = 0] = feature.shape;
  const channelsFirst = names.length === 3 ? /^channel/.test(names[0] ?? '') : first <= 4;
  return channelsFirst ? { height: second, width: third } : { height: first, width: second };
}

/** Features whose pictures lie in the table. */
export function pictureFeatures(info: Info): ReadonlySet<string> {
  const features = Object.entries(info.features);
  return new Set(features.filter(([, { dtype }]) => dtype === 'image').map(([key]) => key));
}

/** @throws ArmatureError `invalid_dataset` when there are videos but no word of where. */
export function videoTemplate(info: Info): string {
  if (typeof info.video_path === 'string') return info.video_path;
  throw new ArmatureError('invalid_dataset', `${INFO_PATH} has videos but no video_path`, {
    field: 'video_path',
    fix: `Set video_path in ${INFO_PATH}.`,
  });
}

/** A path of the set. @throws ArmatureError `invalid_dataset` for a field that has no value. */
export function fillTemplate(
  field: 'data_path' | 'video_path',
  template: string,
  values: Readonly<Record<string, string | number>>,
): string {
  try {
    return fillPath(template, values);
  } catch (cause) {
    throw new ArmatureError('invalid_dataset', `${field} of ${INFO_PATH}: ${template}`, {
      field,
      fix: `Use only ${Object.keys(values).join(', ')} in ${field}.`,
      cause,
    });
  }
}
