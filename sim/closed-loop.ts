import { dimension, poseOf } from './arm.ts';
import { type Embodiment, horizon } from './embodiments.ts';
import { follow } from './motion.ts';
import { checkChunk, type PolicyPort } from './policy-port.ts';
import { pictureBytes, Renderer } from './render.ts';
import { Attempt, wilson } from './success.ts';
import { evaluationTask, type Task } from './task.ts';

/**
 * `normal`; `blank`: every picture is zeros; `renamed`: the instruction names another object of the
 * scene, and that one has to be reached.
 */
export type Variant = 'normal' | 'blank' | 'renamed';

export interface ClosedLoopOptions {
  readonly embodiment: Embodiment;
  readonly episodes: number;
  readonly seed: number;
  readonly variant: Variant;
  readonly open: PolicyPort;
  /** Episodes that are under way at a time, so that a server can batch their chunks; 1 if absent. */
  readonly concurrency?: number;
  /** Steps of each chunk that are executed, 1 to 16; 8 if absent. */
  readonly executeSteps?: number;
  /** Control steps an episode may take; 80 if absent. */
  readonly maxSteps?: number;
  /** Of this many episodes, from the first on, sampled pictures are kept; 0 if absent. */
  readonly keepFrames?: number;
  readonly onProgress?: (p: { done: number; total: number; successes: number }) => void;
  readonly signal?: AbortSignal;
}

export interface SampledFrame {
  readonly step: number;
  /** First external camera, u8 [64, 64, 3]. */
  readonly image: Uint8Array;
  /** What the policy said with the chunk that starts here. */
  readonly reasoning?: string;
}

export interface EpisodeOutcome {
  readonly success: boolean;
  /** Whether the object that `normal` names was reached; differs from `success` in `renamed`. */
  readonly reachedOriginal: boolean;
  readonly steps: number;
  /** Tool to the centre of the object that counts, at the end, in table widths. */
  readonly distance: number;
  readonly instruction: string;
  readonly frames?: readonly SampledFrame[];
}

export interface ClosedLoopResult {
  readonly embodiment: string;
  readonly variant: Variant;
  readonly n: number;
  readonly successes: number;
  readonly rate: number;
  /** Wilson, 95 %. */
  readonly interval: [number, number];
  /** Episodes that reached the object that `normal` names. */
  readonly reachedOriginal: number;
  readonly episodes: readonly EpisodeOutcome[];
}

/**
 * Runs a policy in the simulator: look, ask for a chunk, execute its first steps, and so on until
 * the object is reached or the steps are used up. Episode i is the same task in every variant and
 * for every policy; outcomes come in the order of the episodes.
 * Throws PolicyOutputError for a chunk of wrong length or with a value that is not finite, and
 * whatever the port throws; the other episodes are then given up and every session is closed.
 */
export async function runClosedLoop(options: ClosedLoopOptions): Promise<ClosedLoopResult> {
  const { episodes: total, executeSteps = 8, concurrency = 1 } = options;
  if (!(executeSteps >= 1 && executeSteps <= horizon)) {
    throw new RangeError(`executeSteps ${executeSteps} is not in 1 to ${horizon}`);
  }
  if (!(total >= 1 && concurrency >= 1)) {
    throw new RangeError(`episodes ${total} and concurrency ${concurrency} must be at least 1`);
  }
  const failed = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal;
  const renderer = new Renderer();
  const outcomes: EpisodeOutcome[] = [];
  let next = 0;
  let done = 0;
  let successes = 0;
  const lane = async (): Promise<void> => {
    for (let episode = next++; episode < total; episode = next++) {
      const outcome = await runEpisode({ ...options, executeSteps, signal }, episode, renderer);
      outcomes[episode] = outcome;
      done++;
      if (outcome.success) successes++;
      options.onProgress?.({ done, total, successes });
    }
  };
  const lanes = Array.from({ length: Math.min(concurrency, total) }, () =>
    lane().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  const ended = await Promise.allSettled(lanes);
  if (ended.some((end) => end.status === 'rejected')) signal.throwIfAborted();
  return {
    embodiment: options.embodiment.name,
    variant: options.variant,
    n: total,
    successes,
    rate: successes / total,
    interval: wilson(successes, total),
    reachedOriginal: outcomes.filter((outcome) => outcome.reachedOriginal).length,
    episodes: outcomes,
  };
}

async function runEpisode(
  options: ClosedLoopOptions & { executeSteps: number; signal: AbortSignal },
  episode: number,
  renderer: Renderer,
): Promise<EpisodeOutcome> {
  const { embodiment, variant, signal, executeSteps, maxSteps = 80 } = options;
  const { arm } = embodiment;
  signal.throwIfAborted();
  const task = evaluationTask(embodiment, options.seed, episode);
  const goal = variant === 'renamed' ? task.other : task.target;
  const instruction = variant === 'renamed' ? task.otherInstruction : task.instruction;
  const attempts = { goal: new Attempt(arm, goal), original: new Attempt(arm, task.target) };
  const state = Float32Array.from(task.start);
  const watch = (): void => {
    attempts.goal.observe(state);
    attempts.original.observe(state);
  };
  watch();
  const frames: SampledFrame[] = [];
  let executed: { chunk_id: string; steps: number } | undefined;
  let lastCommand: Float32Array | undefined;
  let step = 0;
  const over = (): boolean => step >= maxSteps || attempts.goal.reached;
  const session = await options.open({ instruction, episode });
  try {
    while (!over()) {
      signal.throwIfAborted();
      const chunk = await session.act({
        images: see(embodiment, task, state, renderer, variant === 'blank'),
        state: Float32Array.from(state),
        ...(executed && { executed }),
        ...(lastCommand && { lastCommand }),
      });
      checkChunk(chunk, dimension(arm));
      if (episode < (options.keepFrames ?? 0)) {
        frames.push({
          step,
          image: renderer.render({ kind: 'external' }, task.scene, arm, state),
          ...(chunk.reasoning !== undefined && { reasoning: chunk.reasoning }),
        });
      }
      let steps = 0;
      while (steps < executeSteps && !over()) {
        const width = state.length;
        lastCommand = chunk.actions.slice(steps * width, (steps + 1) * width);
        follow(arm, state, lastCommand);
        watch();
        steps++;
        step++;
      }
      executed = chunk.chunkId === undefined ? undefined : { chunk_id: chunk.chunkId, steps };
    }
  } finally {
    await session.close();
  }
  if (episode < (options.keepFrames ?? 0)) {
    frames.push({ step, image: renderer.render({ kind: 'external' }, task.scene, arm, state) });
  }
  const { tool } = poseOf(arm, state);
  return {
    success: attempts.goal.reached,
    reachedOriginal: attempts.original.reached,
    steps: step,
    distance: Math.hypot(tool.x - goal.x, tool.y - goal.y),
    instruction,
    ...(frames.length > 0 && { frames }),
  };
}

function see(
  embodiment: Embodiment,
  task: Task,
  state: Float32Array,
  renderer: Renderer,
  blank: boolean,
): Record<string, Uint8Array> {
  return Object.fromEntries(
    Object.entries(embodiment.cameras).map(([name, camera]) => [
      name,
      blank
        ? new Uint8Array(pictureBytes)
        : renderer.render(camera, task.scene, embodiment.arm, state),
    ]),
  );
}
