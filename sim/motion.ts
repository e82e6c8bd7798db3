import { type Arm, clampToLimits, isPrismatic, jointCount } from './arm.ts';
import { at } from './at.ts';

/** Control steps a second that the rates below are per step of. */
const stepsPerSecond = 10;

/** Largest change of a joint a control step that the expert commands: rad, or m for a telescope. */
function cruise(arm: Arm, joint: number): number {
  return isPrismatic(arm, joint) ? 0.05 : 0.1;
}

/** Share of the remaining way that the expert commands close to the goal. */
const gain = 0.3;
/** Change of the opening a control step. */
const openingStep = 0.25;

/** Rates that the arm itself cannot exceed, a second; the expert stays well below. */
export function maxVelocity(arm: Arm, joint: number): number {
  return isPrismatic(arm, joint) ? 1.5 : 3;
}
export const maxOpeningVelocity = 3;

/**
 * One command towards joint values: all joints arrive together, speed is bounded, and the last part
 * decelerates. It depends on the state alone, so that a perturbed arm is simply sent on from where
 * it is. `closing` drives the opening down or up.
 * Returns [dimension] absolute targets.
 */
export function commandTowards(
  arm: Arm,
  state: ArrayLike<number>,
  goal: ArrayLike<number>,
  closing: boolean,
): Float32Array {
  const joints = jointCount(arm);
  let furthest = 0;
  for (let i = 0; i < joints; i++) {
    const steps = Math.abs(at(goal, i) - at(state, i)) / cruise(arm, i);
    if (steps > furthest) furthest = steps;
  }
  const share = gain / (1 + gain * furthest);
  const command = new Float32Array(joints + (arm.gripper ? 1 : 0));
  for (let i = 0; i < joints; i++) {
    command[i] = at(state, i) + share * (at(goal, i) - at(state, i));
  }
  if (arm.gripper) {
    command[joints] = at(state, joints) + (closing ? -openingStep : openingStep);
  }
  clampToLimits(arm, command);
  return command;
}

/** The simulated arm: follows a command as far as its limits and largest rates allow; in place. */
export function follow(arm: Arm, state: Float32Array, command: ArrayLike<number>): void {
  const joints = jointCount(arm);
  for (let i = 0; i < state.length; i++) {
    const rate = i < joints ? maxVelocity(arm, i) : maxOpeningVelocity;
    const most = rate / stepsPerSecond;
    const change = at(command, i) - at(state, i);
    state[i] = at(state, i) + Math.min(most, Math.max(-most, change));
  }
  clampToLimits(arm, state);
}
