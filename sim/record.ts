import { type Arm, clampToLimits, isPrismatic } from './arm.ts';
import { at } from './at.ts';
import type { Embodiment } from './embodiments.ts';
import { closedOpening, expertCommand, goalAt, radiiAway } from './expert.ts';
import { reasoningFor } from './instructions.ts';
import { follow } from './motion.ts';
import { Renderer } from './render.ts';
import { createRng, type Rng } from './rng.ts';
import type { Disc } from './scene.ts';
import { sampleTask, streams } from './task.ts';

/** A sub-task sentence for the frames [from, to). */
export interface ReasoningLabel {
  readonly from: number;
  readonly to: number;
  readonly text: string;
  readonly source: string;
}

/** One demonstration of T frames at 10 Hz. */
export interface EpisodeRecording {
  readonly length: number;
  /** f32 [T, dimension], before the action. */
  readonly state: Float32Array;
  /** f32 [T, dimension], absolute targets commanded in that state. */
  readonly action: Float32Array;
  readonly task: string;
  /** For each camera T pictures, u8 [64, 64, 3]. */
  readonly frames: Record<string, Uint8Array[]>;
  readonly labels: ReasoningLabel[];
}

export interface RecordOptions {
  readonly embodiment: Embodiment;
  readonly episodes: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
}

export const shortestEpisode = 30;
export const longestEpisode = 70;
/** Frames that an episode goes on after the object has been reached. */
const restFrames = 12;
/** Length of a telescope, in table widths, that disturbs as much as a joint's rad. */
const telescope = 0.4;
/** `source` of the labels, told apart from those that people or models write. */
const labelSource = 'sim';

/**
 * Demonstrations of the scripted expert. Its execution is disturbed a little, so that recordings
 * show states off the ideal path with the command that leads back. Episode i depends on the seed
 * and i alone.
 */
export async function* recordDemos(options: RecordOptions): AsyncIterable<EpisodeRecording> {
  const renderer = new Renderer();
  for (let i = 0; i < options.episodes; i++) {
    options.signal?.throwIfAborted();
    yield recordEpisode(
      createRng(options.seed, streams.demonstration, i),
      options.embodiment,
      renderer,
    );
    // Recording is synchronous: let timers and sockets of this process have their turn.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

export function recordEpisode(
  rng: Rng,
  embodiment: Embodiment,
  renderer: Renderer,
): EpisodeRecording {
  const { arm, cameras } = embodiment;
  const { scene, start, target, instruction } = sampleTask(rng, embodiment);
  const goal = goalAt(arm, target);
  const state = Float32Array.from(start);
  const states: number[] = [];
  const actions: number[] = [];
  const frames = Object.fromEntries(
    Object.keys(cameras).map((name): [string, Uint8Array[]] => [name, []]),
  );
  const sentences: string[] = [];
  let rested = 0;
  while (
    sentences.length < shortestEpisode ||
    (rested < restFrames && sentences.length < longestEpisode)
  ) {
    const command = expertCommand(arm, target, goal, state);
    for (const [name, camera] of Object.entries(cameras)) {
      frames[name]?.push(renderer.render(camera, scene, arm, state));
    }
    states.push(...state);
    actions.push(...command);
    sentences.push(reasoningFor(arm, target, state));
    rested = atRest(arm, target, state) ? rested + 1 : 0;
    const speed = speedOf(arm, state, command);
    follow(arm, state, command);
    disturb(rng, arm, target, state, speed);
  }
  return {
    length: sentences.length,
    state: Float32Array.from(states),
    action: Float32Array.from(actions),
    task: instruction,
    frames,
    labels: segments(sentences),
  };
}

function atRest(arm: Arm, disc: Disc, state: ArrayLike<number>): boolean {
  if (radiiAway(arm, disc, state) > 0.5) return false;
  return !arm.gripper || at(state, arm.links.length) <= closedOpening;
}

/** Largest change of a joint that is commanded, in rad; a telescope's in 0.4 m. */
function speedOf(arm: Arm, state: ArrayLike<number>, command: ArrayLike<number>): number {
  const changes = arm.links.map(
    (_, i) => Math.abs(at(command, i) - at(state, i)) / (isPrismatic(arm, i) ? telescope : 1),
  );
  return Math.max(...changes);
}

/**
 * A tremor that grows with speed (Harris & Wolpert 1998) and is there at rest too, so that there is
 * no closed gripper without a correction to learn from; now and then a push, and none near the
 * object. Joints in rad, telescopes in m.
 */
function disturb(rng: Rng, arm: Arm, disc: Disc, state: Float32Array, speed: number): void {
  const pushed = radiiAway(arm, disc, state) > 1.5 && rng.next() < 0.1;
  const spread = 0.01 + 0.3 * speed + (pushed ? 0.08 : 0);
  for (let i = 0; i < arm.links.length; i++) {
    const scale = isPrismatic(arm, i) ? telescope : 1;
    state[i] = at(state, i) + scale * spread * rng.normal();
  }
  clampToLimits(arm, state);
}

function segments(sentences: readonly string[]): ReasoningLabel[] {
  const labels: ReasoningLabel[] = [];
  let from = 0;
  for (let t = 1; t <= sentences.length; t++) {
    if (t < sentences.length && sentences[t] === sentences[from]) continue;
    labels.push({ from, to: t, text: at(sentences, from), source: labelSource });
    from = t;
  }
  return labels;
}
