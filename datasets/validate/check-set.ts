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

/**
 * What shows only when all episodes are seen together. Each is looked at once as it comes, in any
 * order, and not kept.
 */
export class SetCheck {
  readonly #grippers: readonly { name: string; action: number; state: number; sums: Sums }[];
  readonly #hashes = new Map<string, number[]>();

  constructor(dataset: Dataset) {
    this.#grippers = dataset.actionNames.flatMap((name, action) => {
      const state = dataset.stateNames.indexOf(name);
      if (!GRIPPER.test(name) || state < 0) return [];
      return [{ name, action, state, sums: new Sums() }];
    });
  }

  see({ index, state, action, length }: Episode, dataset: Dataset): void {
    if (length === 0) return;
    for (const gripper of this.#grippers) {
      for (let t = 0; t < length; t += 1) {
        gripper.sums.add(
          action[t * dataset.actionNames.length + gripper.action] ?? Number.NaN,
          state[t * dataset.stateNames.length + gripper.state] ?? Number.NaN,
        );
      }
    }
    const hash = createHash('sha256').update(bytesOf(state)).update(bytesOf(action)).digest('hex');
    this.#hashes.set(hash, [...(this.#hashes.get(hash) ?? []), index]);
  }

  report(
    spec: EmbodimentSpec,
    stats: { state: FeatureStats; action: FeatureStats },
    findings: Findings,
  ): void {
    checkUnits(spec, stats, findings);
    for (const { name, sums } of this.#grippers) checkGripper(name, sums.correlation(), findings);
    this.#reportDuplicates(findings);
  }

  /** Episodes with the very same numbers were uploaded twice. */
  #reportDuplicates(findings: Findings): void {
    const again = [...this.#hashes.values()].flatMap((indices) => {
      const [first, ...others] = indices.sort((a, b) => a - b);
      return others.map((index) => ({ index, first: first ?? index }));
    });
    for (const { index, first } of again.sort((a, b) => a.index - b.index)) {
      findings.add({
        severity: 'warning',
        code: 'same_episode',
        message: `episode ${index} has the same numbers as episode ${first}`,
        fix: `Remove episode ${index}: what is there twice counts twice.`,
        episode: index,
      });
    }
  }
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
function checkGripper(name: string, correlation: number, findings: Findings): void {
  if (!(correlation < AGAINST)) return;
  findings.add({
    severity: 'warning',
    code: 'gripper_sense',
    message: `${name}: the state runs against the command (correlation ${correlation.toFixed(2)}), as if one counted open and the other closed`,
    fix: `Record state and action of ${name} in the same sense.`,
    feature: `action.${name}`,
  });
}

/** Pearson's correlation of pairs that come one after another. */
class Sums {
  #count = 0;
  #x = 0;
  #y = 0;
  #xx = 0;
  #yy = 0;
  #xy = 0;

  add(x: number, y: number): void {
    this.#count += 1;
    this.#x += x;
    this.#y += y;
    this.#xx += x * x;
    this.#yy += y * y;
    this.#xy += x * y;
  }

  /** NaN where one side never changes. */
  correlation(): number {
    const n = this.#count;
    const cov = this.#xy - (this.#x * this.#y) / n;
    const spread = (this.#xx - this.#x ** 2 / n) * (this.#yy - this.#y ** 2 / n);
    return spread > 0 ? cov / Math.sqrt(spread) : Number.NaN;
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
