import type { Arm } from './arm.ts';
import { type ColourName, colourNames } from './colours.ts';
import { closedOpening, radiiAway } from './expert.ts';
import type { Rng } from './rng.ts';
import type { Disc } from './scene.ts';

const reachPhrases = [
  'reach the # disc',
  'reach for the # object',
  'move to the # object',
  'move to the # disc',
  'go to the # circle',
  'touch the # disc',
  'bring the tool to the # one',
  'put the tool on the # disc',
  'point at the # circle',
  'find the # object and stop there',
] as const;

const graspPhrases = [
  'grasp the # disc',
  'grip the # object',
  'pick the # disc',
  'close the gripper on the # disc',
  'take hold of the # circle',
  'go to the # object and close the gripper',
] as const;

/** A sentence that asks for an object by its colour; grippers are also asked to grasp. */
export function instructionFor(rng: Rng, arm: Arm, colour: ColourName): string {
  const phrases: readonly string[] = arm.gripper
    ? [...reachPhrases, ...graspPhrases]
    : reachPhrases;
  return rng.pick(phrases).replace('#', colour);
}

/** Which object and where it lies, and what is being done: one short sentence. */
export function reasoningFor(arm: Arm, disc: Disc, state: ArrayLike<number>): string {
  return `The ${disc.colour} disc is ${column(disc.x)}, ${row(disc.y)}; ${deed(arm, disc, state)}.`;
}

/** Every instruction and every reasoning sentence there is, e.g. to build a vocabulary from. */
export function allTexts(): { instructions: string[]; reasoning: string[] } {
  const instructions = colourNames.flatMap((colour) =>
    [...reachPhrases, ...graspPhrases].map((phrase) => phrase.replace('#', colour)),
  );
  const reasoning = colourNames.flatMap((colour) =>
    [0, 0.5, 1].flatMap((x) =>
      [0, 0.5, 1].flatMap((y) =>
        deeds.map((deed) => `The ${colour} disc is ${column(x)}, ${row(y)}; ${deed}.`),
      ),
    ),
  );
  return { instructions, reasoning };
}

const deeds = ['reach there', 'close the gripper', 'hold there'] as const;

function deed(arm: Arm, disc: Disc, state: ArrayLike<number>): (typeof deeds)[number] {
  if (radiiAway(arm, disc, state) > 0.7) return 'reach there';
  const opening = arm.gripper ? state[arm.links.length] : 0;
  return opening !== undefined && opening > closedOpening ? 'close the gripper' : 'hold there';
}

function column(x: number): string {
  return x < 1 / 3 ? 'on the left' : x > 2 / 3 ? 'on the right' : 'in the middle';
}

function row(y: number): string {
  return y < 1 / 3 ? 'near the bottom' : y > 2 / 3 ? 'near the top' : 'half way up';
}
