import type { Arm } from './arm.ts';
import { at } from './at.ts';
import { closedOpening, radiiAway } from './expert.ts';
import type { Disc } from './scene.ts';

/** Control steps in a row that the tool stays on the object before that counts. */
export const stepsToHold = 5;

/**
 * Watches one object over an episode. It is reached when for five steps in a row the tool has been
 * within the object's radius of its centre; a gripper, moreover, must have closed there and be
 * closed still: one that arrives closed, or closes elsewhere, has to open and close on the object.
 */
export class Attempt {
  readonly #arm: Arm;
  readonly #disc: Disc;
  #wasClosed = true;
  #closedHere = false;
  #held = 0;
  #reached = false;

  constructor(arm: Arm, disc: Disc) {
    this.#arm = arm;
    this.#disc = disc;
  }

  get reached(): boolean {
    return this.#reached;
  }

  /** Shows the next state [dimension] of the episode, the first one included. */
  observe(state: ArrayLike<number>): void {
    const inside = radiiAway(this.#arm, this.#disc, state) <= 1;
    if (this.#arm.gripper) {
      const closed = at(state, this.#arm.links.length) <= closedOpening;
      if (!closed) this.#closedHere = false;
      else if (!this.#wasClosed) this.#closedHere = inside;
      this.#wasClosed = closed;
    }
    const holds = inside && (!this.#arm.gripper || this.#closedHere);
    this.#held = holds ? this.#held + 1 : 0;
    if (this.#held >= stepsToHold) this.#reached = true;
  }
}

/**
 * Wilson's score interval for a proportion (E. B. Wilson, 1927), [low, high] in [0, 1].
 * Throws RangeError unless 0 ≤ successes ≤ n and n ≥ 1.
 */
export function wilson(successes: number, n: number, z = 1.959963984540054): [number, number] {
  if (!(n >= 1 && successes >= 0 && successes <= n)) {
    throw new RangeError(`${successes} successes of ${n} is no proportion`);
  }
  const share = successes / n;
  const z2 = z * z;
  const centre = (share + z2 / (2 * n)) / (1 + z2 / n);
  const half = (z / (1 + z2 / n)) * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
