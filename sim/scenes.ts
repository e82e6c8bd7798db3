import { type Arm, poseOf } from './arm.ts';
import { type Camera, pictureSize, projection, toPixel } from './camera.ts';
import { horizon } from './embodiments.ts';
import { expertChunk, expertCommand, goalAt, sampleStart } from './expert.ts';
import { sampleArm } from './family.ts';
import { instructionFor, reasoningFor } from './instructions.ts';
import type { Renderer } from './render.ts';
import type { Rng } from './rng.ts';
import { type Scene, sampleScene } from './scene.ts';

/** One way to be asked about a picture, and what answers it. */
export interface PretrainInstruction {
  readonly text: string;
  readonly reasoning: string;
  /** Centre of the named object in the external picture, [u, v] in [0, 1], v down. */
  readonly targetXY: readonly [number, number];
  /** The same in the wrist picture; null where its centre is not in it, or there is no such view. */
  readonly wristXY: readonly [number, number] | null;
  /** Absolute joint targets of the expert's next steps, raw: f32 [16, dimension]. */
  readonly actions: Float32Array;
}

/** A picture, and one instruction for each object in it: the picture need be encoded once. */
export interface PretrainSample {
  readonly arm: Arm;
  /** u8 [64, 64, 3] from above. */
  readonly image: Uint8Array;
  /** u8 [64, 64, 3] at the tool, where one was asked for. */
  readonly wrist: Uint8Array | null;
  /** Raw joint values, then the opening if there is a gripper: f32 [dimension]. */
  readonly state: Float32Array;
  readonly instructions: readonly PretrainInstruction[];
}

export interface PretrainOptions {
  /** Taken instead of one of the family. */
  readonly arm?: Arm;
  /** Whether a wrist picture is drawn too. */
  readonly wrist?: boolean;
  /** How much tables and light vary, 0 to 1; 1 unless given. */
  readonly variety?: number;
}

/** The longest that an episode runs before the moment that is drawn, control steps. */
const longestPast = 45;

/**
 * A moment of an episode that is not simulated as a whole: a random arm and scene, a start pose, the
 * expert on its way to one of the objects for a random while, a nudge; then the picture.
 */
export function pretrainSample(
  rng: Rng,
  renderer: Renderer,
  options: PretrainOptions = {},
): PretrainSample {
  const arm = options.arm ?? sampleArm(rng);
  const scene = sampleScene(rng, arm, { variety: options.variety ?? 1 });
  const state = momentOf(rng, arm, scene);
  const top: Camera = { kind: 'external' };
  const near: Camera | null =
    options.wrist === true
      ? { kind: 'wrist', field: rng.uniform(0.4, 0.6), turns: rng.next() < 0.7 }
      : null;
  return {
    arm,
    image: renderer.render(top, scene, arm, state),
    wrist: near && renderer.render(near, scene, arm, state),
    state,
    instructions: scene.discs.map((disc) => {
      const wristXY = near && uv(near, arm, state, disc);
      return {
        text: instructionFor(rng, arm, disc.colour),
        reasoning: reasoningFor(arm, disc, state),
        targetXY: uv(top, arm, state, disc),
        wristXY: wristXY && inside(wristXY) ? wristXY : null,
        actions: expertChunk(arm, disc, state, horizon),
      };
    }),
  };
}

/** One picture with one instruction: the first of `pretrainSample`'s at random. */
export interface PretrainChunk extends PretrainInstruction {
  readonly arm: Arm;
  readonly image: Uint8Array;
  readonly wrist: Uint8Array | null;
  readonly state: Float32Array;
}

export function pretrainChunk(
  rng: Rng,
  renderer: Renderer,
  options: PretrainOptions = {},
): PretrainChunk {
  const { instructions, ...moment } = pretrainSample(rng, renderer, options);
  return { ...moment, ...rng.pick(instructions) };
}

function momentOf(rng: Rng, arm: Arm, scene: Scene): Float32Array {
  const disc = rng.pick(scene.discs);
  const goal = goalAt(arm, disc);
  let state = sampleStart(rng, arm);
  // Squared, so that as many moments lie on the way as at the end of it.
  const past = Math.floor((longestPast + 1) * rng.next() ** 2);
  for (let t = 0; t < past; t++) state = expertCommand(arm, disc, goal, state);
  for (let i = 0; i < arm.links.length; i++) {
    state[i] = (state[i] ?? 0) + 0.02 * rng.normal();
  }
  return state;
}

function uv(
  camera: Camera,
  arm: Arm,
  state: ArrayLike<number>,
  point: { x: number; y: number },
): [number, number] {
  const [u, v] = toPixel(projection(camera, poseOf(arm, state)), point);
  return [u / pictureSize, v / pictureSize];
}

function inside([u, v]: readonly [number, number]): boolean {
  return u >= 0 && u <= 1 && v >= 0 && v <= 1;
}
