import { at } from './at.ts';
import type { Rgb } from './colours.ts';

/** Revolute–revolute, three revolute, or a revolute base with a telescope. */
export type ArmKind = 'rr' | 'rrr' | 'rp';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * A planar arm on the unit table (x right, y up, both in [0, 1]; lengths in table widths, named
 * `m` on the wire). What the controller calls a joint's value is `raw`; geometry uses
 * `sign · raw + zero`, so that equal arms may be wired differently.
 */
export interface Arm {
  readonly kind: ArmKind;
  readonly base: Point;
  /** Direction, rad, from which the first joint is measured. */
  readonly facing: number;
  /** One length a joint; a telescope's length is its retracted one. */
  readonly links: readonly number[];
  readonly signs: readonly number[];
  readonly zeros: readonly number[];
  /** Raw limits, one pair a joint. */
  readonly limits: readonly { readonly min: number; readonly max: number }[];
  /** On which side the elbow bends. */
  readonly elbow: 1 | -1;
  /** Angle, rad, of the last link to the ray from base to target, where it is free to choose. */
  readonly tilt: number;
  readonly gripper: boolean;
  readonly look: { readonly colour: Rgb; readonly width: number };
}

/** Where an arm's joints and tool are, for one vector of raw joint values. */
export interface Pose {
  /** Base, every joint after it, tool. */
  readonly points: readonly Point[];
  readonly tool: Point;
  /** Direction of the last link, rad. */
  readonly heading: number;
}

/** Joints without the gripper. */
export function jointCount(arm: Arm): number {
  return arm.links.length;
}

/** Length of the arm's state and of its action: joints, then the gripper's opening if any. */
export function dimension(arm: Arm): number {
  return arm.links.length + (arm.gripper ? 1 : 0);
}

export function isPrismatic(arm: Arm, joint: number): boolean {
  return arm.kind === 'rp' && joint === 1;
}

/** Forward kinematics of raw joint values [J] (longer vectors are read up to J). */
export function poseOf(arm: Arm, joints: ArrayLike<number>): Pose {
  let { x, y } = arm.base;
  let heading = arm.facing;
  const points: Point[] = [arm.base];
  for (let i = 0; i < arm.links.length; i++) {
    const value = at(arm.signs, i) * at(joints, i) + at(arm.zeros, i);
    let length = at(arm.links, i);
    if (isPrismatic(arm, i)) length += value;
    else heading += value;
    x += length * Math.cos(heading);
    y += length * Math.sin(heading);
    points.push({ x, y });
  }
  return { points, tool: { x, y }, heading };
}

/**
 * Inverse kinematics in closed form: raw joint values [J] that put the tool on the target, or null
 * where it is out of reach or a joint would leave its limits. One target has one solution (fixed
 * elbow side and tilt), and it changes smoothly with the target.
 */
export function inverse(arm: Arm, target: Point): Float64Array | null {
  const angles = geometric(arm, target);
  if (angles === null) return null;
  const raw = new Float64Array(angles.length);
  for (let i = 0; i < angles.length; i++) {
    const value = (at(angles, i) - at(arm.zeros, i)) * at(arm.signs, i);
    const limit = at(arm.limits, i);
    if (value < limit.min || value > limit.max) return null;
    raw[i] = value;
  }
  return raw;
}

export function reachable(arm: Arm, target: Point): boolean {
  return inverse(arm, target) !== null;
}

/** Raw joint values kept inside the limits, and the opening inside [0, 1]; in place. */
export function clampToLimits(arm: Arm, state: Float32Array | Float64Array): void {
  for (let i = 0; i < arm.links.length; i++) {
    const { min, max } = at(arm.limits, i);
    state[i] = Math.min(max, Math.max(min, at(state, i)));
  }
  if (arm.gripper) {
    const i = arm.links.length;
    state[i] = Math.min(1, Math.max(0, at(state, i)));
  }
}

function geometric(arm: Arm, target: Point): number[] | null {
  const dx = target.x - arm.base.x;
  const dy = target.y - arm.base.y;
  const ray = Math.atan2(dy, dx);
  if (arm.kind === 'rp') {
    return [wrap(ray - arm.facing), Math.hypot(dx, dy) - at(arm.links, 0) - at(arm.links, 1)];
  }
  if (arm.kind === 'rr') return twoLink(arm, dx, dy);
  const heading = ray + arm.tilt;
  const last = at(arm.links, 2);
  const first = twoLink(arm, dx - last * Math.cos(heading), dy - last * Math.sin(heading));
  if (first === null) return null;
  return [...first, wrap(heading - arm.facing - at(first, 0) - at(first, 1))];
}

function twoLink(arm: Arm, dx: number, dy: number): number[] | null {
  const upper = at(arm.links, 0);
  const fore = at(arm.links, 1);
  const cosine = (dx * dx + dy * dy - upper * upper - fore * fore) / (2 * upper * fore);
  if (cosine < -1 || cosine > 1) return null;
  const bend = arm.elbow * Math.acos(cosine);
  const shoulder =
    Math.atan2(dy, dx) - Math.atan2(fore * Math.sin(bend), upper + fore * Math.cos(bend));
  return [wrap(shoulder - arm.facing), bend];
}

/** The same angle in (-π, π]. */
function wrap(angle: number): number {
  const turns = Math.ceil((angle - Math.PI) / (2 * Math.PI));
  return angle - turns * 2 * Math.PI;
}
