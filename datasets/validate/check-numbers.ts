import type { EmbodimentSpec, FeatureStats } from '@armature/sdk/contract';
import type { Dataset, Episode, EpisodeInfo } from '../dataset.ts';
import type { Findings } from './findings.ts';

/** A step between two frames may be this many frame times long before frames are missing. */
const GAP = 1.5;
/** A frame may be this share of a frame time from where it belongs. */
const JITTER = 0.25;
/** Share of a joint's range by which a value may lie outside its limits. */
const LIMIT_TOLERANCE = 1e-3;
/** The same for what is measured: joints sag and swing past where they were told to go. */
const MEASURED_TOLERANCE = 0.05;

/** Limits this many times as wide as the widest motion in their unit are none: nobody measured them. */
const WIDEST_LIMITS = 100;

/** What is wrong with the numbers of one episode. */
export function checkEpisode(
  dataset: Dataset,
  info: EpisodeInfo,
  episode: Episode,
  horizon: number,
  findings: Findings,
): void {
  const { index, length } = episode;
  if (length !== info.length) {
    findings.add({
      severity: 'error',
      code: 'length_mismatch',
      message: `episode ${index} has ${length} rows, meta/episodes.jsonl says ${info.length}`,
      fix: `Correct the length in meta/episodes.jsonl or export episode ${index} again.`,
      episode: index,
    });
  }
  if (length === 0) {
    findings.add({
      severity: 'error',
      code: 'empty_episode',
      message: `episode ${index} has no frames`,
      fix: `Remove episode ${index}.`,
      episode: index,
    });
    return;
  }
  if (length < horizon) {
    findings.add({
      severity: 'warning',
      code: 'short_episode',
      message: `episode ${index} has ${length} frames, fewer than one chunk of ${horizon}`,
      fix: `Remove episode ${index}, or record it whole.`,
      episode: index,
    });
  }
  if (info.task.trim() === '') {
    findings.add({
      severity: 'warning',
      code: 'no_task',
      message: `episode ${index} has no task text`,
      fix: 'Name the task in meta/episodes.jsonl; the policy is told it.',
      episode: index,
      feature: 'task',
    });
  }
  checkFinite(findings, index, 'state', dataset.stateNames, episode.state);
  checkFinite(findings, index, 'action', dataset.actionNames, episode.action);
  checkTimestamps(findings, index, dataset.fps, episode.timestamps);
}

function checkFinite(
  findings: Findings,
  episode: number,
  feature: 'state' | 'action',
  names: readonly string[],
  values: Float32Array,
): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  const count = values.reduce((sum, value) => sum + (Number.isFinite(value) ? 0 : 1), 0);
  findings.add({
    severity: 'error',
    code: 'not_finite',
    message: `${feature} of episode ${episode} has ${count} values that are no finite numbers, the first is ${values[at] ?? Number.NaN} in frame ${Math.floor(at / names.length)}, ${names[at % names.length] ?? ''}`,
    fix: `Record ${feature} without gaps, or remove episode ${episode}.`,
    episode,
    feature,
  });
}

function checkTimestamps(
  findings: Findings,
  episode: number,
  fps: number,
  timestamps: Float32Array,
): void {
  const problem = (
    severity: 'error' | 'warning',
    code: string,
    message: string,
    fix: string,
  ): void => findings.add({ severity, code, message, fix, episode, feature: 'timestamp' });
  const start = timestamps[0] ?? 0;
  let jitter = 0;
  for (let t = 0; t < timestamps.length; t += 1) {
    const now = timestamps[t] ?? Number.NaN;
    const step = t === 0 ? 1 / fps : now - (timestamps[t - 1] ?? Number.NaN);
    if (!Number.isFinite(now) || step <= 0) {
      problem(
        'error',
        'timestamp_order',
        `episode ${episode}: time does not go on in frame ${t} (${now} s)`,
        'Write timestamps that grow by one frame time a row.',
      );
      return;
    }
    if (step * fps > GAP) {
      problem(
        'error',
        'timestamp_gap',
        `episode ${episode}: ${step.toFixed(3)} s lie between frames ${t - 1} and ${t}, ${(1 / fps).toFixed(3)} s at ${fps} frames a second`,
        `Record at an even rate, or cut episode ${episode} at the gap.`,
      );
      return;
    }
    jitter = Math.max(jitter, Math.abs((now - start) * fps - t));
  }
  if (jitter > JITTER) {
    problem(
      'warning',
      'timestamp_jitter',
      `episode ${episode}: a frame lies ${jitter.toFixed(2)} frame times from where the rate puts it`,
      'Resample the episode to an even rate.',
    );
  }
}

/** What the values of the whole set say: dimensions that never change, values outside limits. */
export function checkStats(
  stats: { state: FeatureStats; action: FeatureStats },
  spec: EmbodimentSpec,
  findings: Findings,
): void {
  for (const feature of ['state', 'action'] as const) {
    const { names, min, max } = stats[feature];
    names.forEach((name, dimension) => {
      if (min[dimension] !== max[dimension]) return;
      findings.add({
        severity: 'warning',
        code: 'constant_dimension',
        message: `${feature} ${name} is ${min[dimension] ?? 0} in every frame`,
        fix: `Leave ${name} out if the robot does not use it.`,
        feature: `${feature}.${name}`,
      });
    });
  }
  for (const feature of ['action', 'state'] as const) checkLimits(feature, stats, spec, findings);
  checkWidths(stats, spec, findings);
}

/**
 * The least motion that scales of actions and labels tell from noise is a share of a joint's range: where that
 * is far wider than anything that moves in the same unit, all of the joint's motion counts as none.
 */
function checkWidths(
  stats: { state: FeatureStats; action: FeatureStats },
  spec: EmbodimentSpec,
  findings: Findings,
): void {
  const widest = new Map<string, number>();
  for (const feature of ['state', 'action'] as const) {
    const { names, min, max } = stats[feature];
    if (names.length !== spec[feature].length) return;
    spec[feature].forEach(({ unit }, dimension) => {
      const span = (max[dimension] ?? 0) - (min[dimension] ?? 0);
      widest.set(unit, Math.max(span, widest.get(unit) ?? 0));
    });
  }
  for (const { name, unit, min, max } of spec.action) {
    const moved = widest.get(unit) ?? 0;
    if (moved === 0 || max - min <= WIDEST_LIMITS * moved) continue;
    findings.add({
      severity: 'warning',
      code: 'wide_limits',
      message: `action ${name} may go from ${min} to ${max} ${unit}, nothing in the set moves by more than ${moved} ${unit}: what is scaled by that range, such as relative actions and labels of motion, is lost`,
      fix: `Register an embodiment whose action ${name} has the min and max that the joint can reach.`,
      feature: `action.${name}`,
    });
  }
}

/** A joint of the state is held against the limits of the action of its name and unit. */
function checkLimits(
  feature: 'state' | 'action',
  stats: { state: FeatureStats; action: FeatureStats },
  spec: EmbodimentSpec,
  findings: Findings,
): void {
  const { names, min, max } = stats[feature];
  if (names.length !== spec[feature].length) return;
  const tolerance = feature === 'action' ? LIMIT_TOLERANCE : MEASURED_TOLERANCE;
  spec[feature].forEach(({ name, unit }, dimension) => {
    const joint = spec.action.find((action) => action.name === name && action.unit === unit);
    if (joint === undefined) return;
    const low = min[dimension] ?? 0;
    const high = max[dimension] ?? 0;
    const slack = tolerance * (joint.max - joint.min);
    if (low >= joint.min - slack && high <= joint.max + slack) return;
    findings.add({
      severity: 'warning',
      code: 'outside_limits',
      message: `${feature} ${name} goes from ${low} to ${high} ${unit}, the embodiment allows ${joint.min} to ${joint.max}`,
      fix:
        feature === 'action'
          ? `Widen the limits of ${name}, or record within them; what the policy predicts outside is ${spec.on_violation === 'clamp' ? 'clamped' : 'refused'}.`
          : `Check the zero and the unit of ${name}, or widen its limits.`,
      feature: `${feature}.${name}`,
    });
  });
}
