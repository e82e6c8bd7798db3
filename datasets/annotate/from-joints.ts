import { ArmatureError, type EmbodimentSpec } from '@armature/sdk/contract';
import type { Episode, Label } from '../dataset.ts';
import { bodyParts } from './body-parts.ts';
import { type PartMotion, partMotions } from './motion.ts';

export const JOINTS_SOURCE = 'joints';

/** Shorter stretches belong to the one before, in seconds. */
const SHORTEST_S = 0.4;

interface Segment {
  from: number;
  to: number;
  /** Which parts move, and for hands whether up or down: equal where nothing changes. */
  readonly moving: string;
}

/**
 * Sub-task sentences from the recorded joints alone: an episode is cut where arms begin and end to
 * move and where hands or grippers do, and each piece says what moves, how far the hand is in its
 * range, and the task. Covers every frame; the same numbers give the same sentences.
 * @param fps frames a second
 * @throws ArmatureError `embodiment_mismatch` when the state does not have the spec's dimensions.
 */
export function annotateFromJoints(
  episode: Pick<Episode, 'state' | 'length' | 'instruction'>,
  spec: EmbodimentSpec,
  fps: number,
): Label[] {
  if (episode.state.length !== episode.length * spec.state.length) {
    throw new ArmatureError(
      'embodiment_mismatch',
      `state has ${episode.state.length / episode.length} values a frame, the embodiment ${spec.state.length}`,
      { field: 'state', fix: 'Use the embodiment that the data set was recorded with.' },
    );
  }
  if (episode.length === 0) return [];
  const motions = partMotions(bodyParts(spec), episode.state, spec.state.length, fps);
  const segments = cut(motions, episode.length, Math.max(1, Math.round(SHORTEST_S * fps)));
  const labels: Label[] = [];
  segments.forEach(({ from, to }, index) => {
    const text = sentence(motions, segments, index, episode.instruction);
    const last = labels.at(-1);
    if (last?.text === text) labels[labels.length - 1] = { ...last, to };
    else labels.push({ from, to, text, source: JOINTS_SOURCE });
  });
  return labels;
}

/** Runs of frames in which the same parts move, none shorter than `shortest` but a lone one. */
function cut(motions: readonly PartMotion[], length: number, shortest: number): Segment[] {
  const segments: Segment[] = [];
  for (let t = 0; t < length; t += 1) {
    const moving = motions
      .map(({ part, moving: way }) => (part.kind === 'arm' ? Math.abs(way[t] ?? 0) : (way[t] ?? 0)))
      .join(',');
    const last = segments.at(-1);
    if (last?.moving === moving) last.to = t + 1;
    else segments.push({ from: t, to: t + 1, moving });
  }
  return joinEqual(absorbShort(segments, shortest));
}

function absorbShort(segments: readonly Segment[], shortest: number): Segment[] {
  const kept: Segment[] = [];
  let from = 0;
  for (const segment of segments) {
    const last = kept.at(-1);
    if (segment.to - segment.from >= shortest) kept.push({ ...segment, from });
    else if (last !== undefined) last.to = segment.to;
    else continue;
    from = segment.to;
  }
  const end = segments.at(-1)?.to ?? 0;
  return kept.length > 0 ? kept : [{ from: 0, to: end, moving: longest(segments) }];
}

const longest = (segments: readonly Segment[]): string =>
  segments.reduce((best, next) => (next.to - next.from > best.to - best.from ? next : best)).moving;

function joinEqual(segments: readonly Segment[]): Segment[] {
  const joined: Segment[] = [];
  for (const segment of segments) {
    const last = joined.at(-1);
    if (last?.moving === segment.moving) last.to = segment.to;
    else joined.push({ ...segment });
  }
  return joined;
}

function sentence(
  motions: readonly PartMotion[],
  segments: readonly Segment[],
  index: number,
  task: string,
): string {
  const segment = segments[index];
  if (segment === undefined) return task;
  const ways = segment.moving.split(',');
  const moving = motions.filter((_, part) => ways[part] !== '0');
  const arms = moving.filter((motion) => motion.part.kind === 'arm');
  const hands = moving.filter((motion) => motion.part.kind === 'hand');
  const armNames = list(arms.map((motion) => motion.part.name));
  const handNames = list(
    hands.map((motion) => `${motion.part.name} to ${percent(motion, segment.to - 1)}`),
  );
  const goal = task.trim();
  if (arms.length > 0 && hands.length > 0) {
    return `Move the ${armNames} and the ${handNames}. ${goal}`;
  }
  if (hands.length > 0) return `Move the ${handNames}. ${goal}`;
  if (arms.length > 0) {
    const held = motions.filter(
      (motion) => motion.part.kind === 'hand' && motion.moving.some((way) => way !== 0),
    );
    const grip = list(
      held.map((motion) => `${motion.part.name} at ${percent(motion, segment.from)}`),
    );
    return held.length > 0
      ? `Move the ${armNames} with the ${grip}. ${goal}`
      : `Move the ${armNames}. ${goal}`;
  }
  if (index === 0) return `Wait. ${goal}`;
  return index === segments.length - 1 ? `Done, hold still. ${goal}` : `Hold still. ${goal}`;
}

/**
 * Level at a frame in halves. A picture shows whether a hand opens or closes, not how far it will go:
 * a model that is taught finer steps guesses them, and a decoder that was taught with true ones
 * follows the guesses.
 */
function percent(motion: PartMotion, t: number): string {
  const level = Math.min(1, Math.max(0, motion.level[t] ?? 0));
  return `${Math.round(level * 2) * 50} %`;
}

const list = (names: readonly string[]): string => names.join(' and the ');
