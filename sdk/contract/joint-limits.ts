import type { EmbodimentSpec } from './embodiment.ts';
import { ArmatureError } from './errors.ts';

/** Limits of one action dimension, rates in units a control period. */
export interface JointLimits {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Largest change between two steps; Infinity where the spec sets no velocity. */
  readonly step: number;
  /** Largest change of that change; Infinity where the spec sets no acceleration. */
  readonly change: number;
}

type Limited = Pick<EmbodimentSpec, 'control_hz'> & {
  readonly action: readonly Readonly<EmbodimentSpec['action'][number]>[];
};

/** A spec's limits, which are given a second, as limits a control period, in the order of its actions. */
export function jointLimits({ control_hz: hz, action }: Limited): JointLimits[] {
  return action.map(({ name, min, max, max_velocity: velocity, max_acceleration }) => ({
    name,
    min,
    max,
    step: velocity === undefined ? Infinity : velocity / hz,
    change: max_acceleration === undefined ? Infinity : max_acceleration / hz ** 2,
  }));
}

/**
 * What float32 may add to a command of this size without it counting as a violation. It goes by the numbers
 * themselves and not by the range, which may be wider than any speed that it is held against.
 * @param position command before; NaN where it is not known
 */
export function roundingOf(value: number, position: number): number {
  return 1e-6 * Math.max(Math.abs(value), Number.isNaN(position) ? 0 : Math.abs(position));
}

/**
 * The command for a joint that is to be at `wanted[at]` now and at what follows there in the periods
 * after: the nearest to it that the limits allow and from which it can brake in time. A joint that is
 * behind catches up as fast as its limits let it, and never passes a value that is wanted now or later
 * on its way away from it, unless it was too fast from the outset. Values within the limits are left
 * as they are. After the last the values are taken to stand, or to go on by their last change.
 * @param wanted units of the joint, every value finite
 * @param position command before; NaN where it is not known
 * @param step change of the command over the control period before that; NaN where it is not known
 */
export function followCommand(
  joint: JointLimits,
  wanted: ArrayLike<number>,
  at: number,
  position: number,
  step: number,
): number {
  let x = wanted[at] ?? NaN;
  if (Number.isFinite(joint.change) && !Number.isNaN(position)) {
    const up = largestStep(joint, wanted, at, position, 1);
    const down = largestStep(joint, wanted, at, position, -1);
    x = clamp(x, position - down, position + up);
  }
  return boundCommand(joint, x, position, step);
}

/**
 * Largest step in one direction from which a joint that brakes is never beyond a value while it still
 * moves away from it. A step d that shrinks by `change` each period is over after d / change of them,
 * and until then takes the joint (j+1)·d − change·j(j+1)/2 far in j more.
 */
function largestStep(
  { min, max, change }: JointLimits,
  wanted: ArrayLike<number>,
  at: number,
  position: number,
  direction: 1 | -1,
): number {
  const distance = (i: number) => direction * (clamp(wanted[i] ?? NaN, min, max) - position);
  const bound = (j: number, to: number) => Math.max(j * change, to / (j + 1) + (j * change) / 2);
  const last = wanted.length - 1;
  let most = Infinity;
  for (let i = at; i <= last; i++) {
    if ((i - at) * change >= most) return most;
    most = Math.min(most, bound(i - at, distance(i)));
  }
  // Of the periods after the last value the one that bounds most lies where the bound is level.
  const slope = last > 0 ? Math.max(0, distance(last) - distance(last - 1)) : 0;
  const origin = distance(last) - slope * (last - at);
  const level = Math.sqrt(Math.max(0, (2 * (origin - slope)) / change)) - 1;
  for (const j of [Math.floor(level), Math.ceil(level)]) {
    if (j > last - at) most = Math.min(most, bound(j, origin + slope * j));
  }
  return most;
}

/**
 * The command nearest to `value` that a joint may be given. It looks ahead, so that a joint starts
 * braking while its range can still be kept within its acceleration. Where all three limits cannot be
 * kept together, range goes before velocity and velocity before acceleration.
 */
function boundCommand(joint: JointLimits, value: number, position: number, step: number): number {
  let x = value;
  if (!Number.isNaN(position)) {
    if (Number.isFinite(joint.change)) {
      x = clamp(
        x,
        position - brakingStep(position - joint.min, joint.change),
        position + brakingStep(joint.max - position, joint.change),
      );
      if (!Number.isNaN(step)) {
        x = clamp(x, position + step - joint.change, position + step + joint.change);
      }
    }
    x = clamp(x, position - joint.step, position + joint.step);
  }
  return clamp(x, joint.min, joint.max);
}

/**
 * Largest step towards a limit `distance` away from which one can still stop on it when every later
 * step may be smaller by `change`: the step d = n·change + r travels (n+1)·d − change·n(n+1)/2 in all.
 */
export function brakingStep(distance: number, change: number): number {
  if (distance <= 0) return distance;
  const n = Math.floor((Math.sqrt(1 + (8 * distance) / change) - 1) / 2);
  return (distance + (change * n * (n + 1)) / 2) / (n + 1);
}

/**
 * Refuses a command outside of a joint's range, or faster than it from where it is.
 * @param t step of the chunk
 * @param position command before; NaN where it is not known
 * @param step change of the command over the control period before that; NaN where it is not known
 * @throws ArmatureError `invalid_action` naming step, joint and limit.
 */
export function assertWithinLimits(
  joint: JointLimits,
  t: number,
  value: number,
  position: number,
  step: number,
): void {
  const tolerance = roundingOf(value, position);
  if (value < joint.min - tolerance || value > joint.max + tolerance) {
    throw limitViolation(joint, t, `is ${value}, outside ${joint.min} to ${joint.max}`);
  }
  const moved = value - position;
  if (Math.abs(moved) > joint.step + tolerance) {
    throw limitViolation(
      joint,
      t,
      `moves by ${moved} in one step, at most ${joint.step} is allowed`,
    );
  }
  // The step before was taken from a command that may have been as far away as it is long.
  if (Math.abs(moved - step) > joint.change + 4 * Math.max(tolerance, roundingOf(step, NaN))) {
    throw limitViolation(
      joint,
      t,
      `changes its step by ${moved - step}, at most ${joint.change} is allowed`,
    );
  }
}

/** That step `t` of a chunk may not be executed. @param what completes "step 3 of elbow …" */
export function limitViolation(joint: JointLimits, t: number, what: string): ArmatureError {
  return new ArmatureError('invalid_action', `step ${t} of ${joint.name} ${what}`, {
    field: `actions[${t}].${joint.name}`,
    fix: 'Hold; send the next observation, or fine-tune on data inside the limits.',
  });
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
