import type { Dataset, Episode } from '../dataset.ts';
import type { Findings } from './findings.ts';

/** Numbers that all stay the same for this long are reported, in seconds. */
const FROZEN_S = 3;
/** Share of an episode's rows in which action and state must agree to be taken for the same. */
const SAME_SHARE = 0.99;
/** Values closer than this are the same: float32 that went through text and back. */
const SAME = 1e-6;
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

/** Longest run of rows that are equal in every value of state and action. */
function longestStill(
  dataset: Dataset,
  { state, action, length }: Episode,
): { start: number; length: number } {
  const widths = [
    [state, dataset.stateNames.length],
    [action, dataset.actionNames.length],
  ] as const;
  const same = (t: number): boolean =>
    widths.every(([values, width]) => {
      for (let i = 0; i < width; i += 1) {
        if (values[t * width + i] !== values[(t - 1) * width + i]) return false;
      }
      return true;
    });
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
