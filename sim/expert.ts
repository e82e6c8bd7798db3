import { type Arm, clampToLimits, dimension, inverse, poseOf } from './arm.ts';
import { at } from './at.ts';
import { commandTowards } from './motion.ts';
import type { Rng } from './rng.ts';
import type { Disc } from './scene.ts';

/** At or below this opening a gripper counts as closed. */
export const closedOpening = 0.2;
/** Radii within which the expert closes, and beyond which a gripper that is half closed opens. */
const closeWithin = 0.4;
const openBeyond = 0.7;

/** Distance of the tool from an object's centre, in radii of the object. */
export function radiiAway(arm: Arm, disc: Disc, state: ArrayLike<number>): number {
  const { tool } = poseOf(arm, state);
  return Math.hypot(tool.x - disc.x, tool.y - disc.y) / disc.radius;
}

/** Joint values that put the tool on an object. Throws RangeError for one out of reach. */
export function goalAt(arm: Arm, disc: Disc): Float64Array {
  const goal = inverse(arm, disc);
  if (goal === null) throw new RangeError(`the ${disc.colour} object is out of reach`);
  return goal;
}

/**
 * The expert's command in a state: towards the object, gripper open until the tool is well inside
 * it, then closed. Where the gripper closed too early it opens again on the way.
 * Returns [dimension] absolute targets.
 */
export function expertCommand(
  arm: Arm,
  disc: Disc,
  goal: ArrayLike<number>,
  state: ArrayLike<number>,
): Float32Array {
  return commandTowards(arm, state, goal, arm.gripper && closes(arm, disc, state));
}

function closes(arm: Arm, disc: Disc, state: ArrayLike<number>): boolean {
  const halfClosed = at(state, arm.links.length) < 0.5;
  return radiiAway(arm, disc, state) <= (halfClosed ? openBeyond : closeWithin);
}

/**
 * The expert's next `steps` commands from a state, the arm following exactly: [steps, dimension].
 */
export function expertChunk(
  arm: Arm,
  disc: Disc,
  state: ArrayLike<number>,
  steps: number,
): Float32Array {
  const goal = goalAt(arm, disc);
  const width = dimension(arm);
  const chunk = new Float32Array(steps * width);
  let now = state;
  for (let t = 0; t < steps; t++) {
    now = expertCommand(arm, disc, goal, now);
    chunk.set(now, t * width);
  }
  return chunk;
}

/**
 * A pose to start from: tool somewhere over the table, joints a little off what inverse kinematics
 * would choose, gripper anywhere between closed and open. Returns the state [dimension].
 */
export function sampleStart(rng: Rng, arm: Arm): Float32Array {
  for (let attempt = 0; attempt < 1000; attempt++) {
    const joints = inverse(arm, { x: rng.uniform(0.08, 0.92), y: rng.uniform(0.08, 0.92) });
    if (joints === null) continue;
    const state = new Float32Array(dimension(arm));
    joints.forEach((value, i) => {
      state[i] = value + (arm.kind === 'rp' && i === 1 ? 0.03 : 0.12) * rng.normal();
    });
    if (arm.gripper) state[joints.length] = rng.next();
    clampToLimits(arm, state);
    const { tool } = poseOf(arm, state);
    if (tool.x > 0.05 && tool.x < 0.95 && tool.y > 0.05 && tool.y < 0.95) return state;
  }
  throw new RangeError('no start pose was found in 1000 attempts');
}
