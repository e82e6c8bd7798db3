import { setTimeout as wait } from 'node:timers/promises';
import { connectRobot, type Picture } from '@armature/sdk';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { Stage } from './jobs.ts';
import type { Received } from './metering.ts';
import type { Progress } from './screen.ts';

/** An episode as the robot lives through it again: one picture a camera and frame. */
export interface RobotEpisode {
  readonly spec: EmbodimentSpec;
  readonly instruction: string;
  readonly length: number;
  /** f32 [length · S] and [length · A], row-major. */
  readonly state: Float32Array;
  readonly action: Float32Array;
  picture(camera: string, frame: number): Picture;
}

/** What a robot saw of its session. */
export interface StreamResult {
  readonly sessionId: string;
  readonly seconds: number;
  readonly latencies: readonly number[];
  readonly starvedTicks: number;
  /** The reasoning that drove the action of each tick, null where there was none. */
  readonly reasoning: readonly (string | null)[];
  /** Chunks that arrived, those too late to be used among them. */
  readonly received: Received;
}

/** A chunk that was under way when the episode ended arrives within this. */
const LAST_CHUNK_MS = 500;

/**
 * Streams an episode at its own rate: at each control tick the robot sends what it sees, unless an
 * answer is still under way, and executes the action of its newest chunk. What it executes in truth
 * is what was recorded, and it reports that as the command in force.
 */
export async function streamEpisode(
  { client, signal }: Stage,
  episode: RobotEpisode,
  options: {
    readonly robot: string;
    readonly embodimentId: string;
    readonly policyVersionId?: string;
    readonly progress: Progress;
  },
): Promise<StreamResult> {
  const { spec, length, state, action, instruction } = episode;
  const widths = { state: spec.state.length, action: spec.action.length };
  const session = await connectRobot({
    client,
    embodiment: spec,
    session: {
      robot: options.robot,
      embodiment_id: options.embodimentId,
      ...(options.policyVersionId === undefined
        ? {}
        : { policy_version_id: options.policyVersionId }),
    },
  });
  const reasoning: (string | null)[] = [];
  try {
    const started = performance.now();
    await session.run({
      signal,
      ticks: length,
      executeSteps: 1,
      observe: ({ tick }) => {
        const frame = Math.min(tick, length - 1);
        return {
          instruction,
          state: state.slice(frame * widths.state, (frame + 1) * widths.state),
          images: Object.fromEntries(
            spec.cameras.map(({ name }) => [name, episode.picture(name, frame)]),
          ),
        };
      },
      execute: (_row, { tick, chunk }) => {
        reasoning[tick] = chunk.reasoning?.text ?? null;
        options.progress.update(tick / length, `${session.stats.chunks} chunks`);
        return action.slice(tick * widths.action, (tick + 1) * widths.action);
      },
    });
    signal.throwIfAborted();
    const seconds = (performance.now() - started) / 1000;
    await wait(LAST_CHUNK_MS);
    const { chunks, dropped, starvedTicks } = session.stats;
    const arrived = chunks + dropped.late;
    return {
      sessionId: session.id,
      seconds,
      latencies: session.latencies,
      starvedTicks,
      reasoning,
      received: { chunks: arrived, actions: arrived * spec.horizon },
    };
  } finally {
    await session.close();
  }
}
