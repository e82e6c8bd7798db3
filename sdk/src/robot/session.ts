import {
  ArmatureError,
  chunkingSchema,
  fromZodError,
  type Chunking,
} from '../../contract/index.ts';
import { toChunk, type Chunk } from './chunk.ts';
import type { Connection, Welcome } from './connection.ts';
import type { ActionRow, EmbodimentShape } from './embodiment.ts';
import { ExecutionReport } from './execution.ts';
import { Link, type LinkOptions, type SessionStatus } from './link.ts';
import { observationFrame, vector, type Observation } from './observation.ts';
import { runLoop, type MeasuredDelay, type RunOptions } from './run.ts';
import { StatsCounter, type RobotStats } from './stats.ts';

export interface SessionOptions<S extends EmbodimentShape> extends Omit<
  LinkOptions,
  'embodiment' | 'onDropped' | 'onReconnect' | 'onRefresh'
> {
  readonly embodiment: S;
  /** Ends the session at the control plane. */
  readonly end: (() => Promise<void>) | undefined;
  /** Longest wait for a chunk, ms. */
  readonly requestTimeoutMs: number;
  /** Real-time chunking, which every worker of the session is told of. */
  readonly chunking: Chunking | undefined;
}

export interface ActOptions {
  /** The chunk is useless this long after the capture, ms: neither sent nor waited for later. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** What the chunk before cost, for the worker to plan with. */
  readonly delay?: MeasuredDelay;
}

/** Longest wait for the worker's close after a goodbye, ms. */
const BYE_MS = 5_000;

/**
 * A robot's session: observations in, chunks out, over a socket that renews its token and reconnects
 * by itself. A chunk of an earlier connection, an answer that was given up or came twice is dropped
 * and counted, never handed out.
 */
export class RobotSession<S extends EmbodimentShape> {
  readonly embodiment: S;
  private readonly options: SessionOptions<S>;
  private readonly link: Link;
  private readonly counter = new StatsCounter();
  private readonly execution = new ExecutionReport();
  private seq = 0;
  /** What the robot's own clock showed when it said 0: that goes on, whatever the wall clock is set to. */
  private readonly begunAt: number;
  /** The task in force, and the connection whose worker knows it. */
  private instruction: string | undefined;
  private instructed: Connection | undefined;
  /** What the worker before gave along for the one that is told first. */
  private handover: string | undefined;

  /** Connects; use `connectRobot`. */
  static async open<S extends EmbodimentShape>(
    options: SessionOptions<S>,
  ): Promise<RobotSession<S>> {
    const chunking = chunkingSchema.optional().safeParse(options.chunking);
    if (!chunking.success)
      throw fromZodError(chunking.error, 'invalid_request', 'chunking', 'chunking');
    const session = new RobotSession(options);
    await session.link.start();
    try {
      session.assertOffered(options.chunking);
    } catch (error) {
      await session.close();
      throw error;
    }
    return session;
  }

  private constructor(options: SessionOptions<S>) {
    this.options = options;
    this.begunAt = options.ports.wall() - options.ports.clock.now();
    this.embodiment = options.embodiment;
    this.link = new Link({
      ...options,
      onDropped: (why) => {
        this.counter.dropped[why] += 1;
      },
      onReconnect: () => {
        this.counter.reconnects += 1;
      },
      onRefresh: () => {
        this.counter.refreshes += 1;
      },
    });
  }

  get id(): string {
    return this.link.sessionId;
  }

  get status(): SessionStatus {
    return this.link.state;
  }

  /**
   * The worker's greeting on the connection in use: policy version, hashes, epoch.
   * @throws ArmatureError `unavailable` while there is no connection.
   */
  get welcome(): Welcome {
    const connection = this.link.now;
    if (connection === undefined) throw this.link.whyClosed();
    return connection.welcome;
  }

  get stats(): RobotStats {
    return this.counter.snapshot();
  }

  /** Latencies of the last 4,096 chunks, ms. */
  get latencies(): number[] {
    return this.counter.latency.samples();
  }

  /**
   * Sends an observation and waits for its chunk. While the session reconnects it waits for that too.
   * @throws ArmatureError `missing_camera`, `invalid_observation`, `invalid_state` before anything is
   *   sent; `timeout` after the deadline, `cancelled` when a newer observation was answered first,
   *   `unavailable` when the connection broke meanwhile, or while what was sent before has not left,
   *   or what the worker answered.
   */
  async act(observation: Observation<S>, options: ActOptions = {}): Promise<Chunk<S>> {
    try {
      return await this.request(observation, options);
    } catch (error) {
      if (options.signal?.aborted !== true) this.counter.errors += 1;
      throw error;
    }
  }

  /**
   * Tells what was executed, for the next observation to report.
   * @param steps step reached in the chunk, 1 to H: the number of its steps that are past.
   * @param command what the robot's own filters made of the last of them, if they changed it.
   * @throws ArmatureError `invalid_request` for a step that the chunk lacks, `invalid_action`.
   */
  report(chunk: Chunk<S>, steps: number, command?: ActionRow<S> | Float32Array): void {
    if (!Number.isInteger(steps) || steps < 1 || steps > chunk.rows.length) {
      throw new ArmatureError(
        'invalid_request',
        `a chunk of ${chunk.rows.length} has no step ${steps}`,
        {
          field: 'steps',
          fix: `Report 1 to ${chunk.rows.length} steps.`,
        },
      );
    }
    const { action } = this.embodiment;
    this.execution.reached(
      chunk,
      steps,
      command === undefined ? undefined : vector(action, command, 'command', 'invalid_action'),
    );
  }

  /** Runs the robot's control loop until its signal is aborted; see `RunOptions`. */
  run(options: RunOptions<S>): Promise<RobotStats> {
    return runLoop(this, this.counter, options);
  }

  /**
   * Ends the session: the worker flushes its records and closes, the control plane marks it ended
   * where this robot created it. Calls that wait are rejected.
   */
  async close(): Promise<void> {
    if (this.status === 'closed') return;
    await this.link.close(BYE_MS);
    await this.options.end?.();
  }

  /** A worker that does not know of real-time chunking would leave it out without a word. */
  private assertOffered(chunking: Chunking | undefined): void {
    if (chunking === undefined) return;
    const offered = this.welcome.chunking ?? ['off'];
    if (offered.includes(chunking.mode)) return;
    throw new ArmatureError(
      'invalid_request',
      `this session’s chunks cannot be ${chunking.mode}, only ${offered.join(', ')}`,
      { field: 'chunking.mode', fix: `Ask for one of: ${offered.join(', ')}.` },
    );
  }

  /** Said to every worker once, where somebody listens. */
  private asksForReasonings(connection: Connection | undefined): true | undefined {
    const told = connection === this.instructed;
    return this.options.onReasoning === undefined || told ? undefined : true;
  }

  /** The observation with the task in force, where this connection's worker has not been told it. */
  private instructing(
    observation: Observation<S>,
    connection: Connection | undefined,
  ): Observation<S> {
    const { instruction } = this;
    if (instruction === undefined || observation.instruction !== undefined) return observation;
    return connection === this.instructed ? observation : { ...observation, instruction };
  }

  private async request(observation: Observation<S>, options: ActOptions): Promise<Chunk<S>> {
    const { clock, wall } = this.options.ports;
    const calledAt = clock.now();
    // Not by the wall clock, which may be set in between: to the worker that would be a lateness.
    const capturedAt = observation.capturedAt ?? this.begunAt + calledAt;
    const ageMs = observation.capturedAt === undefined ? 0 : wall() - capturedAt;
    const { deadlineMs, signal, delay } = options;
    const usefulMs = (deadlineMs ?? Infinity) - ageMs;
    const budgetMs = Math.min(this.options.requestTimeoutMs, usefulMs);
    this.instruction = observation.instruction ?? this.instruction;
    const frame = (seq: number, connection: Connection | undefined): Uint8Array =>
      observationFrame(this.embodiment, this.instructing(observation, connection), {
        seq,
        capturedAt,
        executed: this.execution.forWorker((epoch) => connection?.knows(epoch) ?? false),
        deadlineMs,
        delay,
        chunking: connection === this.instructed ? undefined : this.options.chunking,
        reasoningFrames: this.asksForReasonings(connection),
        resume: connection === this.instructed ? undefined : this.handover,
      });
    // Checked before waiting for a connection, so that what is wrong here is said at once.
    if (this.link.now === undefined) frame(this.seq, undefined);
    if (budgetMs <= 0) throw tooOld();
    const connection = this.link.now ?? (await this.link.connected(budgetMs, signal));
    const congestion = connection.congestion();
    if (congestion !== undefined) {
      // The task that this one brought is told with the next.
      this.instructed = undefined;
      throw congestion;
    }
    const sentAt = clock.now();
    const leftMs = Math.max(1, budgetMs - (sentAt - calledAt));
    const seq = this.seq++;
    if (connection !== this.instructed) this.handover = this.link.takeHandover();
    const answer = connection.request(seq, frame(seq, connection), leftMs, signal);
    this.instructed = connection;
    const wire = await answer;
    const latencyMs = clock.now() - sentAt;
    const chunk = toChunk(this.embodiment, wire, { latencyMs, capturedAt });
    this.counter.chunks += 1;
    this.counter.actionsReceived += chunk.rows.length;
    this.counter.latency.add(latencyMs);
    return chunk;
  }
}

function tooOld(): ArmatureError {
  return new ArmatureError('timeout', 'the observation was past its deadline before it was sent', {
    field: 'deadline_ms',
    fix: 'Capture a newer observation, or give a longer deadline.',
  });
}
