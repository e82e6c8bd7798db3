import {
  ArmatureError,
  assertWithinLimits,
  followCommand,
  limitViolation,
  roundingOf,
  type JointLimits,
} from '@armature/sdk/contract';
import type { ChunkLimits } from './chunk-limits.ts';
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
 * embodiment says; a value that is not finite is always refused. The robot itself keeps to the same
 * limits where it goes over from one chunk to the next (`CommandLimits` of the SDK).
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
  const wanted = out.filter((_, i) => i % width === column);
  wanted.forEach((value, t) => {
    if (!Number.isFinite(value)) throw limitViolation(joint, t, `is ${value}`);
  });
  let { position, step } = from;
  let clamped = 0;
  for (let i = column, t = 0; i < out.length; i += width, t++) {
    const value = out[i]!;
    if (onViolation === 'refuse') {
      assertWithinLimits(joint, t, value, position, step);
    } else {
      const bounded = followCommand(joint, wanted, t, position, step);
      if (Math.abs(bounded - value) > roundingOf(value, position)) {
        out[i] = bounded;
        clamped += 1;
      }
    }
    step = out[i]! - position;
    position = out[i]!;
  }
  return clamped;
}
