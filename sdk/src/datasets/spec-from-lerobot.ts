import { basename, resolve } from 'node:path';
import {
  ArmatureError,
  embodimentSpecSchema,
  fromZodError,
  type EmbodimentSpec,
  type Reference,
} from '../../contract/index.ts';
import { isHand, jointGroups } from './joint-groups.ts';
import { readInfo, readRange, type LeRobotFeature, type LeRobotInfo } from './lerobot-meta.ts';

export interface SpecFromLeRobotOptions {
  /** Name of the embodiment; the set's robot type unless told. */
  readonly name?: string;
  /** Actions a chunk; 16 unless told. */
  readonly horizon?: number;
  /** Of every joint group; `state` unless told, `absolute` where an action has no such state. */
  readonly reference?: Reference;
  /** Room beyond the recorded range on each side, as a share of it; 0.1 unless told. */
  readonly margin?: number;
}

/** Smallest room beyond the recorded range, for a joint that hardly moved, in its unit. */
const LEAST_ROOM = 0.01;

/**
 * An embodiment as a LeRobot data set describes it: names, dimensions, cameras and rate from
 * meta/info.json, limits from the recorded actions with some room (a ratio stays within 0 to 1), groups from the joints' names.
 * Units are a guess to be checked: `ratio` for a hand or gripper within 0 to 1, `rad` otherwise.
 * @throws ArmatureError `invalid_dataset` naming what is missing, `empty_dataset`.
 */
export async function specFromLeRobot(
  dir: string,
  options: SpecFromLeRobotOptions = {},
): Promise<EmbodimentSpec> {
  const info = await readInfo(dir);
  const action = feature(info, 'action');
  const state = feature(info, 'observation.state');
  const actionNames = jointNames(action, 'action');
  const stateNames = jointNames(state, 'observation.state');
  const [actionRange, stateRange] = await Promise.all([
    readRange(dir, 'action'),
    readRange(dir, 'observation.state'),
  ]);
  const unitOf = (name: string, min: number, max: number): string =>
    isHand(name) && min >= 0 && max <= 1 ? 'ratio' : 'rad';
  const groups = jointGroups(actionNames);
  const known = actionNames.every((name) => stateNames.includes(name));
  const reference = options.reference ?? (known ? 'state' : 'absolute');
  const margin = options.margin ?? 0.1;
  const spec = {
    name: options.name ?? info.robot_type ?? basename(resolve(dir)),
    control_hz: info.fps,
    horizon: options.horizon ?? 16,
    state: stateNames.map((name, i) => ({
      name,
      unit: unitOf(name, at(stateRange.min, i), at(stateRange.max, i)),
    })),
    action: actionNames.map((name, i) => {
      const [low, high] = [at(actionRange.min, i), at(actionRange.max, i)];
      const room = Math.max(LEAST_ROOM, (high - low) * margin);
      const unit = unitOf(name, low, high);
      const [floor, ceiling] = unit === 'ratio' ? [0, 1] : [-Infinity, Infinity];
      return {
        name,
        unit,
        group: groups[i] ?? 'joints',
        min: round(Math.max(floor, low - room)),
        max: round(Math.min(ceiling, high + room)),
      };
    }),
    references: Object.fromEntries(groups.map((group) => [group, reference])),
    cameras: cameras(info),
    on_violation: 'clamp',
    when_starved: 'hold',
  };
  const parsed = embodimentSpecSchema.safeParse(spec);
  if (!parsed.success) throw fromZodError(parsed.error, 'invalid_dataset', `spec of ${dir}`);
  return parsed.data;
}

function feature(info: LeRobotInfo, name: string): LeRobotFeature {
  const found = info.features[name];
  if (found !== undefined) return found;
  throw new ArmatureError('invalid_dataset', `the set has no ${name}`, {
    field: `meta/info.json.features.${name}`,
    fix: `Record ${name}, or rename the feature that holds it.`,
  });
}

/** Names come as a list, a list in a list, or under a key such as `motors`; or not at all. */
function jointNames({ shape, names }: LeRobotFeature, name: string): string[] {
  const found = names === null || names === undefined ? [] : strings(names);
  const wanted = shape[0] ?? 0;
  if (found.length === wanted) return found;
  if (found.length === 0) return Array.from({ length: wanted }, (_, i) => `joint_${i}`);
  throw new ArmatureError('invalid_dataset', `${name} has ${found.length} names for ${wanted}`, {
    field: `meta/info.json.features.${name}.names`,
    fix: 'Give one name a dimension.',
  });
}

function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(strings);
}

function cameras(info: LeRobotInfo): EmbodimentSpec['cameras'] {
  return Object.entries(info.features)
    .filter(([, { dtype }]) => dtype === 'video' || dtype === 'image')
    .map(([key, { shape, names }]) => {
      const labels = strings(names ?? []);
      const channelsFirst = shape[0] === 3 && labels[0] !== 'height';
      const [height, width] = channelsFirst ? [shape[1], shape[2]] : [shape[0], shape[1]];
      const name = key.replace(/^observation\.images?\./, '');
      return {
        name,
        kind: /wrist|hand|gripper/i.test(name) ? ('wrist' as const) : ('external' as const),
        width: width ?? 0,
        height: height ?? 0,
      };
    });
}

function at(values: readonly number[], index: number): number {
  return values[index] ?? Number.NaN;
}

function round(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}
