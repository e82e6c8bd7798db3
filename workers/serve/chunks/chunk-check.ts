import { ArmatureError } from '@armature/sdk/contract';
import type { ChunkLimits, JointLimits } from './chunk-limits.ts';
import type { Departure } from './departure.ts';

export interface CheckedChunk {
  /** f32 [H, A], every value inside the limits. */
  readonly actions: Float32Array;
  /** Values that the limits changed. */
  readonly clamped: number;
}

/**
 * Checks a chunk before it leaves: finite, inside each joint's range, and no faster than its
 * velocity and acceleration from where the robot is. Outside them it is clamped or refused, as the
 * embodiment says; a value that is not finite is always refused. Clamping looks ahead, so that a
 * joint starts braking while its range can still be kept within its acceleration. Where a robot
 * sets out from makes all three impossible together, range goes before velocity and velocity
 * before acceleration.
 * @param actions f32 [H, A], absolute commands in the spec's units; left as they are.
 * @throws ArmatureError `invalid_action` naming step, joint and limit.
 */
export function checkChunk(
  actions: Float32Array,
  limits: ChunkLimits,
  departure: Departure,
): CheckedChunk {
  const width = limits.joints.length;
  if (actions.length !== limits.horizon * width) {
    throw new ArmatureError(
      'invalid_action',
      `the policy gave ${actions.length} values, not ${limits.horizon} steps of ${width}`,
      { field: 'actions', fix: 'Serve a policy that was trained for this embodiment.' },
    );
  }
  const out = Float32Array.from(actions);
  let clamped = 0;
  limits.joints.forEach((joint, d) => {
    const from = { position: departure.position[d]!, step: departure.step[d]! };
    clamped += checkJoint(out, d, width, joint, from, limits.onViolation);
  });
  return { actions: out, clamped };
}

function checkJoint(
  out: Float32Array,
  column: number,
  width: number,
  joint: JointLimits,
  from: { position: number; step: number },
  onViolation: ChunkLimits['onViolation'],
): number {
  let { position, step } = from;
  let clamped = 0;
  for (let i = column, t = 0; i < out.length; i += width, t++) {
    const value = out[i]!;
    if (!Number.isFinite(value)) throw violation(joint, t, `is ${value}`);
    if (onViolation === 'refuse') {
      refuse(joint, t, value, position, step);
    } else {
      const bounded = bound(joint, value, position, step);
      if (Math.abs(bounded - value) > joint.tolerance) {
        out[i] = bounded;
        clamped += 1;
      }
    }
    step = out[i]! - position;
    position = out[i]!;
  }
  return clamped;
}

function bound(joint: JointLimits, value: number, position: number, step: number): number {
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

function refuse(
  joint: JointLimits,
  t: number,
  value: number,
  position: number,
  step: number,
): void {
  const { tolerance } = joint;
  if (value < joint.min - tolerance || value > joint.max + tolerance) {
    throw violation(joint, t, `is ${value}, outside ${joint.min} to ${joint.max}`);
  }
  const moved = value - position;
  if (Math.abs(moved) > joint.step + tolerance) {
    throw violation(joint, t, `moves by ${moved} in one step, at most ${joint.step} is allowed`);
  }
  if (Math.abs(moved - step) > joint.change + 4 * tolerance) {
    throw violation(
      joint,
      t,
      `changes its step by ${moved - step}, at most ${joint.change} is allowed`,
    );
  }
}

function violation(joint: JointLimits, t: number, what: string): ArmatureError {
  return new ArmatureError('invalid_action', `step ${t} of ${joint.name} ${what}`, {
    field: `actions[${t}].${joint.name}`,
    fix: 'Hold; send the next observation, or fine-tune on data inside the limits.',
  });
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
