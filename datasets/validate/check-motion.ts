import type { Dataset, Episode } from '../dataset.ts';
import type { Findings } from './findings.ts';

/** Numbers that all stay the same for this long are reported, in seconds. */
const FROZEN_S = 3;
/** Share of an episode's rows in which action and state must agree to be taken for the same. */
const SAME_SHARE = 0.99;
/** Values closer than this are the same: float32 that went through text and back. */
const SAME = 1e-6;
/** Rows that repeat the one before in the midst of motion are reported from this number and share on. */
const REPEATS = 3;
const REPEATED_SHARE = 0.05;
/** Rows from which on an episode says something. */
const MIN_ROWS = 16;

/**
 * What the numbers of one episode say about how they were recorded: rows that stand still, actions
 * that are the state itself or the next one (nothing was commanded: the policy learns to copy).
 */
export function checkMotion(dataset: Dataset, episode: Episode, findings: Findings): void {
  const { index, length } = episode;
  if (length < MIN_ROWS) return;
  const frozen = longestStill(dataset, episode);
  if (frozen.length > FROZEN_S * dataset.fps && frozen.length < length) {
    findings.add({
      severity: 'warning',
      code: 'frozen_rows',
      message: `episode ${index}: state and action stay the same from frame ${frozen.start} for ${frozen.length} frames`,
      fix: `Check that the robot was being read, or cut episode ${index} there.`,
      episode: index,
      feature: 'state',
    });
  }
  const repeated = singleRepeats(dataset, episode);
  if (repeated.length >= REPEATS && repeated.length > REPEATED_SHARE * length) {
    findings.add({
      severity: 'warning',
      code: 'repeated_rows',
      message: `episode ${index}: ${repeated.length} of ${length} rows repeat the row before while the robot moves, the first is frame ${repeated[0] ?? 0}`,
      fix: 'Record at the rate at which the robot is read, or drop the rows that say nothing new.',
      episode: index,
      feature: 'state',
    });
  }
  const pairs = sharedJoints(dataset);
  if (pairs.length === 0) return;
  for (const [shift, code, what] of [
    [0, 'action_is_state', 'the state of the same frame'],
    [1, 'action_is_next_state', 'the state of the next frame'],
  ] as const) {
    if (!agrees(dataset, episode, pairs, shift)) continue;
    findings.add({
      severity: 'warning',
      code,
      message: `episode ${index}: the action is ${what}, so that it says where the robot was and not what it was told`,
      fix: 'Record the commands that were sent to the robot as the action.',
      episode: index,
      feature: 'action',
    });
    return;
  }
}

/** Whether row `t` is the row before in every value of state and action. */
function rowRepeats(
  dataset: Dataset,
  { state, action }: Pick<Episode, 'state' | 'action'>,
): (t: number) => boolean {
  const widths = [
    [state, dataset.stateNames.length],
    [action, dataset.actionNames.length],
  ] as const;
  return (t) =>
    widths.every(([values, width]) => {
      for (let i = 0; i < width; i += 1) {
        if (values[t * width + i] !== values[(t - 1) * width + i]) return false;
      }
      return true;
    });
}

/** Rows that are the row before, between rows that are not: a frame was missed and filled in. */
function singleRepeats(dataset: Dataset, episode: Episode): number[] {
  const same = rowRepeats(dataset, episode);
  const repeats: number[] = [];
  for (let t = 2; t + 1 < episode.length; t += 1) {
    if (same(t) && !same(t - 1) && !same(t + 1)) repeats.push(t);
  }
  return repeats;
}

/** Longest run of rows that are equal in every value of state and action. */
function longestStill(dataset: Dataset, episode: Episode): { start: number; length: number } {
  const { length } = episode;
  const same = rowRepeats(dataset, episode);
  let best = { start: 0, length: 1 };
  let start = 0;
  for (let t = 1; t < length; t += 1) {
    if (!same(t)) start = t;
    else if (t - start + 1 > best.length) best = { start, length: t - start + 1 };
  }
  return best;
}

/** Dimensions of state and action that have the same name. */
function sharedJoints(dataset: Dataset): { state: number; action: number }[] {
  return dataset.actionNames
    .map((name, action) => ({ action, state: dataset.stateNames.indexOf(name) }))
    .filter(({ state }) => state >= 0);
}

/** Whether action[t] equals state[t + shift] in nearly all rows, of which some move. */
function agrees(
  dataset: Dataset,
  { state, action, length }: Episode,
  pairs: readonly { state: number; action: number }[],
  shift: number,
): boolean {
  const stateWidth = dataset.stateNames.length;
  const actionWidth = dataset.actionNames.length;
  let equal = 0;
  let moving = 0;
  for (let t = 0; t + 1 < length; t += 1) {
    let same = true;
    let moves = false;
    for (const pair of pairs) {
      const told = action[t * actionWidth + pair.action] ?? Number.NaN;
      const now = state[(t + shift) * stateWidth + pair.state] ?? Number.NaN;
      const other = state[(t + 1 - shift) * stateWidth + pair.state] ?? Number.NaN;
      if (!(Math.abs(told - now) <= SAME)) same = false;
      if (Math.abs(now - other) > SAME) moves = true;
    }
    if (same) equal += 1;
    if (moves) moving += 1;
  }
  return moving > 0 && equal >= SAME_SHARE * (length - 1);
}

/** A joint that goes this share of its range between two frames moves, in an episode. */
const MOVING_SHARE = 0.01;

/**
 * Frames in which the robot is well under way: some dimension of the state has gone a hundredth of
 * its range in the episode since the frame before. [length]
 */
export function movingFrames(dataset: Dataset, { state, length }: Episode): boolean[] {
  const width = dataset.stateNames.length;
  const moving = new Array<boolean>(length).fill(false);
  for (let dimension = 0; dimension < width; dimension += 1) {
    let low = Infinity;
    let high = -Infinity;
    for (let t = 0; t < length; t += 1) {
      const value = state[t * width + dimension] ?? Number.NaN;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const least = MOVING_SHARE * (high - low);
    for (let t = 1; t < length; t += 1) {
      const now = state[t * width + dimension] ?? Number.NaN;
      const before = state[(t - 1) * width + dimension] ?? Number.NaN;
      if (Math.abs(now - before) > Math.max(least, SAME)) moving[t] = true;
    }
  }
  return moving;
}
