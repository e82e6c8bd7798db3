import { poseOf } from './arm.ts';
import { at } from './at.ts';
import type { Embodiment } from './embodiments.ts';
import { sampleStart } from './expert.ts';
import { instructionFor } from './instructions.ts';
import { createRng, type Rng } from './rng.ts';
import { type Disc, type Scene, sampleScene } from './scene.ts';

/** One episode's beginning: a table, a pose, an object to go to, and another one that is not it. */
export interface Task {
  readonly scene: Scene;
  /** State at the start: f32 [dimension]. */
  readonly start: Float32Array;
  readonly target: Disc;
  readonly other: Disc;
  /** A sentence that names the target. */
  readonly instruction: string;
  /** A sentence that names the other object. */
  readonly otherInstruction: string;
}

/** How much tables and light differ from episode to episode with one robot, of what they can. */
const variety = 0.1;
/** The tool starts at least this far, in table widths, from every object's centre. */
const startDistance = 0.15;

export function sampleTask(rng: Rng, embodiment: Embodiment): Task {
  const { arm } = embodiment;
  const start = sampleStart(rng, arm);
  const keepClear = { point: poseOf(arm, start).tool, distance: startDistance };
  const scene = sampleScene(rng, arm, { variety, keepClear });
  const target = rng.integer(0, scene.discs.length - 1);
  const other = (target + rng.integer(1, scene.discs.length - 1)) % scene.discs.length;
  const targetDisc = at(scene.discs, target);
  const otherDisc = at(scene.discs, other);
  return {
    scene,
    start,
    target: targetDisc,
    other: otherDisc,
    instruction: instructionFor(rng, arm, targetDisc.colour),
    otherInstruction: instructionFor(rng, arm, otherDisc.colour),
  };
}

/** Streams of one seed: demonstrations and evaluation never share a task. */
export const streams = { demonstration: 1, evaluation: 2 } as const;

/** Task number `episode` of the evaluation with a seed: the same for every policy and variant. */
export function evaluationTask(embodiment: Embodiment, seed: number, episode: number): Task {
  return sampleTask(createRng(seed, streams.evaluation, episode), embodiment);
}
