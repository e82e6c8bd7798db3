import { createHash } from 'node:crypto';
import type { EmbodimentSpec, FeatureStats } from '@armature/sdk/contract';
import type { Dataset, Episode } from '../dataset.ts';
import type { Findings } from './findings.ts';

/** What a value in the unit can be at most on a robot, and what it looks like beyond. */
const UNITS: readonly {
  readonly unit: RegExp;
  readonly most: number;
  readonly looksLike: string;
}[] = [
  { unit: /^rad(ians?)?$/i, most: 4 * Math.PI, looksLike: 'degrees' },
  { unit: /^(m|met(er|re)s?)$/i, most: 10, looksLike: 'millimetres' },
  { unit: /^(ratio|fraction)$/i, most: 2, looksLike: 'percent or encoder counts' },
];
const DEGREES = /^deg(rees?)?$/i;
/** A joint that is in degrees and moves goes further than this. */
const FEWEST_DEGREES = Math.PI;
const GRIPPER = /grip|claw|jaw/i;
/** Correlation of command and state below which they run against each other. */
const AGAINST = -0.5;

/** What shows only when all episodes are seen together. */
export function checkSet(
  dataset: Dataset,
  spec: EmbodimentSpec,
  episodes: readonly Episode[],
  stats: { state: FeatureStats; action: FeatureStats },
  findings: Findings,
): void {
  checkUnits(spec, stats, findings);
  checkGrippers(dataset, episodes, findings);
  checkDuplicates(episodes, findings);
}

function checkUnits(
  spec: EmbodimentSpec,
  stats: { state: FeatureStats; action: FeatureStats },
  findings: Findings,
): void {
  for (const feature of ['state', 'action'] as const) {
    const { names, min, max } = stats[feature];
    if (names.length !== spec[feature].length) continue;
    spec[feature].forEach(({ name, unit }, dimension) => {
      const low = min[dimension] ?? 0;
      const high = max[dimension] ?? 0;
      const looksLike = suspicion(unit, low, high);
      if (looksLike === null) return;
      findings.add({
        severity: 'warning',
        code: 'unit_suspicion',
        message: `${feature} ${name} goes from ${low} to ${high}, which looks like ${looksLike} and not ${unit}`,
        fix: `Convert ${name} to ${unit}, or correct its unit in the embodiment.`,
        feature: `${feature}.${name}`,
      });
    });
  }
}

function suspicion(unit: string, low: number, high: number): string | null {
  const most = Math.max(Math.abs(low), Math.abs(high));
  const known = UNITS.find((candidate) => candidate.unit.test(unit));
  if (known !== undefined && most > known.most) return known.looksLike;
  if (DEGREES.test(unit) && high - low > 0.01 && most < FEWEST_DEGREES) return 'radians';
  return null;
}

/** A gripper whose state opens while its command closes is wired or scaled the other way round. */
function checkGrippers(dataset: Dataset, episodes: readonly Episode[], findings: Findings): void {
  dataset.actionNames.forEach((name, action) => {
    const state = dataset.stateNames.indexOf(name);
    if (!GRIPPER.test(name) || state < 0) return;
    const correlation = correlate(
      episodes.map((episode) => ({
        x: column(episode.action, action, dataset.actionNames.length),
        y: column(episode.state, state, dataset.stateNames.length),
      })),
    );
    if (!(correlation < AGAINST)) return;
    findings.add({
      severity: 'warning',
      code: 'gripper_sense',
      message: `${name}: the state runs against the command (correlation ${correlation.toFixed(2)}), as if one counted open and the other closed`,
      fix: `Record state and action of ${name} in the same sense.`,
      feature: `action.${name}`,
    });
  });
}

function column(values: Float32Array, dimension: number, width: number): Float32Array {
  return Float32Array.from(
    { length: values.length / width },
    (_, t) => values[t * width + dimension] ?? Number.NaN,
  );
}

/** Pearson's correlation over all parts; NaN where one side never changes. */
function correlate(parts: readonly { x: Float32Array; y: Float32Array }[]): number {
  let count = 0;
  const sums = { x: 0, y: 0, xx: 0, yy: 0, xy: 0 };
  for (const { x, y } of parts) {
    x.forEach((a, t) => {
      const b = y[t] ?? Number.NaN;
      count += 1;
      sums.x += a;
      sums.y += b;
      sums.xx += a * a;
      sums.yy += b * b;
      sums.xy += a * b;
    });
  }
  const cov = sums.xy - (sums.x * sums.y) / count;
  const spread = (sums.xx - sums.x ** 2 / count) * (sums.yy - sums.y ** 2 / count);
  return spread > 0 ? cov / Math.sqrt(spread) : Number.NaN;
}

/** Episodes with the very same numbers were uploaded twice. */
function checkDuplicates(episodes: readonly Episode[], findings: Findings): void {
  const seen = new Map<string, number>();
  for (const { index, state, action, length } of [...episodes].sort((a, b) => a.index - b.index)) {
    if (length === 0) continue;
    const hash = createHash('sha256').update(bytesOf(state)).update(bytesOf(action)).digest('hex');
    const first = seen.get(hash);
    if (first === undefined) {
      seen.set(hash, index);
      continue;
    }
    findings.add({
      severity: 'warning',
      code: 'same_episode',
      message: `episode ${index} has the same numbers as episode ${first}`,
      fix: `Remove episode ${index}: what is there twice counts twice.`,
      episode: index,
    });
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
