import type { BodyPart } from './body-parts.ts';

/** The motion of one body part over an episode. */
export interface PartMotion {
  readonly part: BodyPart;
  /** By frame: 0 at rest, 1 where it moves with its level rising, -1 where it falls. */
  readonly moving: readonly (-1 | 0 | 1)[];
  /** Mean of the joints as a share of their span, by frame, 0 to 1 within the limits. */
  readonly level: readonly number[];
}

/** Seconds over which positions are averaged before speeds are taken. */
const SMOOTH_S = 0.2;
/** Motion begins above and ends below these shares of the fast speed of the fastest like part. */
const ONSET = 0.15;
const OFFSET = 0.08;
/** A part stands still that covers less of its joints' spans than this in the whole episode, … */
const LEAST_TRAVEL = 0.02;
/** … or less than this share of what the farthest like part covers. */
const LEAST_SHARE = 0.25;

/**
 * When each part moves. Speeds are measured against the fastest part of the same kind, so sensor
 * noise of an arm at rest is no motion; begin and end have thresholds of their own.
 * @param state row-major [length · width]
 */
export function partMotions(
  parts: readonly BodyPart[],
  state: Float32Array,
  width: number,
  fps: number,
): PartMotion[] {
  const length = Math.floor(state.length / width);
  const tracks = parts.map((part) => {
    const joints = part.joints.map((joint, i) => {
      const values = smooth(
        Array.from({ length }, (_, t) => state[t * width + joint] ?? 0),
        Math.max(1, Math.round(SMOOTH_S * fps)),
      );
      const low = values.reduce((least, value) => Math.min(least, value), Infinity);
      const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
      const span = part.spans[i] ?? { min: low, max: high };
      return { values, low, high, span, size: Math.max(span.max - span.min, 1e-9) };
    });
    const speed = Array.from({ length }, (_, t) =>
      Math.hypot(
        ...joints.map(({ values, size }) => {
          const before = Math.max(0, t - 1);
          const after = Math.min(length - 1, t + 1);
          const seconds = Math.max(1, after - before) / fps;
          return ((values[after] ?? 0) - (values[before] ?? 0)) / size / seconds;
        }),
      ),
    );
    const travel = Math.max(...joints.map(({ low, high, size }) => (high - low) / size));
    const level = Array.from({ length }, (_, t) => {
      const shares = joints.map(({ values, span, size }) => ((values[t] ?? 0) - span.min) / size);
      return shares.reduce((sum, share) => sum + share, 0) / shares.length;
    });
    return { part, speed, travel, level, fast: upper(speed) };
  });
  return tracks.map(({ part, speed, travel, level }) => {
    const like = tracks.filter((track) => track.part.kind === part.kind);
    const fastest = Math.max(...like.map((track) => track.fast));
    const farthest = Math.max(...like.map((track) => track.travel));
    const stands = travel < Math.max(LEAST_TRAVEL, LEAST_SHARE * farthest);
    let active = false;
    const moving = speed.map((value, t) => {
      active = !stands && value > (active ? OFFSET : ONSET) * fastest;
      if (!active) return 0;
      return (level[t + 1] ?? level[t] ?? 0) >= (level[t - 1] ?? level[t] ?? 0) ? 1 : -1;
    });
    return { part, moving, level };
  });
}

/** Centred moving average over `window` frames, narrower at the ends. */
function smooth(values: readonly number[], window: number): number[] {
  const half = Math.floor(window / 2);
  return values.map((_, t) => {
    const slice = values.slice(Math.max(0, t - half), t + half + 1);
    return slice.reduce((sum, value) => sum + value, 0) / slice.length;
  });
}

/** The value that 95 % stay below. */
function upper(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(0.95 * (sorted.length - 1))] ?? 0;
}
