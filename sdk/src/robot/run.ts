import { ArmatureError } from '../../contract/index.ts';
import type { SessionRecorder } from '../recording/recorder.ts';
import { ActionQueue, type Aggregate, type NextAction } from './action-queue.ts';
import type { Chunk } from './chunk.ts';
import { realClock, sleepUntil, type Clock } from './clock.ts';
import { CommandLimits } from './command-limits.ts';
import type { ActionRow, EmbodimentShape, StateJoint } from './embodiment.ts';
import { LatencyWindow } from './latency.ts';
import { vector, type Observation } from './observation.ts';
import type { RobotStats, StatsCounter } from './stats.ts';

/** What a control loop needs of a session. */
export interface Actor<S extends EmbodimentShape> {
  readonly embodiment: S;
  readonly status: string;
  act(
    observation: Observation<S>,
    options: { deadlineMs: number; signal: AbortSignal; delay?: MeasuredDelay },
  ): Promise<Chunk<S>>;
  report(chunk: Chunk<S>, steps: number, command?: ActionRow<S> | Float32Array): void;
}

/** What the last chunk cost: steps executed while it was made, and the time that took in ms. */
export interface MeasuredDelay {
  readonly steps: number;
  readonly latencyMs: number;
}

type Maybe<T> = T | Promise<T>;
type Filtered<S extends EmbodimentShape> = ActionRow<S> | Float32Array;

/** Executes one action. @param at the control tick, and where in which chunk the action lies. */
export type Execute<S extends EmbodimentShape, R> = (
  row: ActionRow<S>,
  at: { readonly tick: number; readonly chunk: Chunk<S>; readonly step: number },
) => R | Promise<R>;

export interface RunOptions<S extends EmbodimentShape> {
  /** What the robot sees and feels now. @param at control ticks since the first action. */
  readonly observe: (at: { readonly tick: number }) => Maybe<Observation<S>>;
  /**
   * Executes one action. A robot whose own filters changed the command returns what became of it, which
   * is what the next one is held against.
   */
  readonly execute: Execute<S, void> | Execute<S, Filtered<S> | undefined>;
  /** Control rate, Hz, at most the spec's, which its limits are kept at; the spec's unless told. */
  readonly hz?: number;
  /** Steps of a chunk to execute before the next should take over; all unless told. */
  readonly executeSteps?: number;
  /**
   * Age from which on a chunk is never executed, ms; 1 s or two chunks long unless told. It counts when
   * the chunk arrives, and again before every step: one that is late by more than this is dropped with
   * all that follow it, whatever held the robot up.
   */
  readonly maxAgeMs?: number;
  /** What becomes of steps that two chunks have; `latest` unless told. */
  readonly aggregate?: Aggregate;
  /**
   * No chunk is asked for while every joint named here is within this of where the last chunk saw it
   * and actions are left; in the joint's unit. Without it every observation counts.
   */
  readonly similar?: Readonly<Partial<Record<StateJoint<S>, number>>>;
  /** Keeps every executed action with what was seen: `observe` is then called at every tick. */
  readonly record?: SessionRecorder<S>;
  /** Ends after this many control ticks. */
  readonly ticks?: number;
  /** Ends the loop; `run` then resolves. */
  readonly signal?: AbortSignal;
  readonly onChunk?: (chunk: Chunk<S>) => void;
  /**
   * A tick without an action: hold the last command, or stop, as the spec says. Without it a robot that
   * holds is sent nothing, so its servos stay where they are; one that is to stop must be told, so there
   * it may not be left out.
   */
  readonly onStarved?: (mode: 'hold' | 'stop', last: ActionRow<S>) => void;
  readonly onError?: (error: ArmatureError) => void;
  readonly clock?: Clock;
}

/** Quantile of the recent latencies that is planned for. */
const PLANNED_QUANTILE = 0.95;
/** Chunks in a row that came too late to be executed, after which the robot is told. */
const LATE_IN_A_ROW = 3;
/** Errors in a row that a repeat does not mend, after which the loop ends. */
const MAX_REFUSALS = 10;

/**
 * The control loop: executes one action a tick and keeps the queue filled. The next chunk is asked
 * for when the queue will last no longer than an answer takes (95 % of the recent ones) and one tick
 * more, one question at a time, and not before the first action of the chunk in hand: a chunk that
 * takes as long as all of that one would come with every step past. Steps past when a chunk arrives are dropped by counting executed
 * actions; a chunk that is too old or all past is never executed, nor what is left of one after the
 * robot or its computer stood still for longer than a chunk may be old. When nothing is left the robot
 * holds or stops until a chunk comes. No command differs from the one before by more than the
 * embodiment's velocities and accelerations allow, whatever chunks the two are of (`CommandLimits`);
 * where it refuses instead, what is left of the chunk is dropped, and the robot holds or stops.
 * @throws ArmatureError when the session ends for good, or the same refusal comes ten times in a row;
 *   `invalid_request` naming the option, before anything moves.
 */
export async function runLoop<S extends EmbodimentShape>(
  actor: Actor<S>,
  counter: StatsCounter,
  options: RunOptions<S>,
): Promise<RobotStats> {
  const loop = new ControlLoop(actor, counter, options);
  await loop.run();
  return counter.snapshot();
}

class ControlLoop<S extends EmbodimentShape> {
  private readonly actor: Actor<S>;
  private readonly counter: StatsCounter;
  private readonly options: RunOptions<S>;
  private readonly clock: Clock;
  private readonly period: number;
  private readonly maxAgeMs: number;
  private readonly executeSteps: number;
  private readonly queue: ActionQueue<S>;
  private readonly limits: CommandLimits<S>;
  private readonly latency = new LatencyWindow();
  private readonly stop = new AbortController();
  private asking: Promise<void> | undefined;
  private askAgainAt = 0;
  private errorsInARow = 0;
  private refusalsInARow = 0;
  private lateInARow = 0;
  private failure: { readonly error: unknown } | undefined;
  private last: NextAction<S> | undefined;
  /** The last command as the robot's own filters left it. */
  private inForce: Filtered<S> | undefined;
  /** The robot has held its last command for a tick at least. */
  private holding = false;
  private delay: MeasuredDelay | undefined;
  /** When the chunk in hand was asked for, which is when its step 0 was due. */
  private plannedFrom = 0;
  /** State that the chunk in hand was made for. */
  private chunkState: Float32Array | undefined;
  private seen: { readonly tick: number; readonly what: Promise<Observation<S>> } | undefined;
  private tick = 0;

  constructor(actor: Actor<S>, counter: StatsCounter, options: RunOptions<S>) {
    const { embodiment } = actor;
    this.actor = actor;
    this.counter = counter;
    this.options = options;
    this.queue = new ActionQueue(options.aggregate);
    this.limits = new CommandLimits(embodiment);
    this.clock = options.clock ?? realClock;
    const hz = options.hz ?? embodiment.control_hz;
    this.period = 1000 / hz;
    this.executeSteps = options.executeSteps ?? embodiment.horizon;
    this.maxAgeMs = options.maxAgeMs ?? Math.max(1000, 2 * embodiment.horizon * this.period);
    positive('hz', this.period);
    positive('executeSteps', this.executeSteps);
    positive('maxAgeMs', this.maxAgeMs);
    if (hz > embodiment.control_hz) {
      throw new ArmatureError(
        'invalid_request',
        `hz is ${hz}, the embodiment is controlled at ${embodiment.control_hz}`,
        {
          field: 'hz',
          fix: `Give at most ${embodiment.control_hz}: chunks are made, and their velocities limited, for that.`,
        },
      );
    }
    if (embodiment.when_starved === 'stop' && options.onStarved === undefined) {
      throw new ArmatureError('invalid_request', 'this robot stops when it is starved', {
        field: 'onStarved',
        fix: 'Give onStarved and stop the robot there, or declare when_starved hold.',
      });
    }
  }

  async run(): Promise<void> {
    const { signal } = this.options;
    const abort = (): void => this.stop.abort();
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    try {
      await this.first();
      await this.loop();
    } catch (error) {
      if (!this.stopped) throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
      this.stop.abort();
      await this.asking;
    }
    if (this.failure !== undefined) throw this.failure.error;
  }

  /** Waits for the first chunk: until then the robot is not starved, it has not begun. */
  private async first(): Promise<void> {
    while (!this.stopped && this.queue.left(Infinity) === 0) {
      await sleepUntil(this.clock, this.askAgainAt, this.stop.signal);
      this.ask();
      await this.asking;
    }
  }

  private async loop(): Promise<void> {
    const ticks = this.options.ticks ?? Infinity;
    const startedAt = this.clock.now();
    while (!this.stopped && this.tick < ticks) {
      await sleepUntil(this.clock, startedAt + this.tick * this.period, this.stop.signal);
      this.dropStale();
      if (this.due()) this.ask();
      await this.step();
      const reached = Math.floor((this.clock.now() - startedAt) / this.period);
      const missed = Math.max(0, reached - this.tick - 1);
      this.counter.overrunTicks += missed;
      if (missed > 0) this.limits.held();
      this.tick += 1 + missed;
    }
  }

  private async step(): Promise<void> {
    const { record } = this.options;
    const observation =
      record === undefined || this.queue.left(Infinity) === 0 ? undefined : await this.observe();
    // Looking may have taken its time.
    this.dropStale();
    const next = this.takeNext();
    if (next === undefined) return this.starve();
    this.last = next;
    this.holding = false;
    const { chunk, step, row, mixed } = next;
    const execute = this.options.execute as Execute<S, Filtered<S> | undefined>;
    const filtered = await execute(row, { tick: this.tick, chunk, step });
    this.counter.actionsExecuted += 1;
    if (filtered !== undefined) this.limits.changed(filtered);
    const changed = filtered ?? (mixed ? row : undefined);
    this.inForce = changed ?? row;
    if (changed === undefined) this.actor.report(chunk, step + 1);
    else this.actor.report(chunk, step + 1, changed);
    if (observation === undefined) return;
    record?.add({ observation, action: changed ?? row, chunk, step, tick: this.tick });
  }

  /** The next action as the limits have it; undefined where none is left or they refuse it. */
  private takeNext(): NextAction<S> | undefined {
    const { upcoming } = this.queue;
    if (upcoming === undefined) return undefined;
    const { chunk, step, row: wanted } = upcoming;
    try {
      const row = this.limits.next(this.queue, step, wanted);
      this.queue.take();
      if (row === wanted) return upcoming;
      this.counter.actionsLimited += 1;
      return { chunk, step, row, mixed: true };
    } catch (error) {
      this.queue.clear();
      this.counter.actionsRefused += 1;
      this.refused(error);
      return undefined;
    }
  }

  /** A tick without an action. */
  private starve(): void {
    this.counter.starvedTicks += 1;
    const { last } = this;
    if (last === undefined) return;
    this.limits.held();
    // The next chunk sets out from standing, not from the step before the last.
    if (!this.holding) this.actor.report(last.chunk, last.step + 1, this.inForce);
    this.holding = true;
    this.options.onStarved?.(this.actor.embodiment.when_starved, last.row);
  }

  /** Drops a plan whose next step was due longer ago than a chunk may be old. */
  private dropStale(): void {
    const { next } = this.queue;
    if (next === undefined) return;
    const late = this.clock.now() - (this.plannedFrom + next * this.period);
    if (late <= this.maxAgeMs) return;
    this.queue.clear();
    this.counter.staleChunks += 1;
  }

  private due(): boolean {
    if (this.asking !== undefined || this.clock.now() < this.askAgainAt) return false;
    // All of this chunk may be executed before the next comes, which is then to have a step more.
    if (this.queue.next === 0) return false;
    const unknown = (this.period * this.executeSteps) / 2;
    const lead = (this.latency.quantile(PLANNED_QUANTILE) ?? unknown) + this.period;
    return this.queue.left(this.executeSteps) * this.period <= lead;
  }

  private ask(): void {
    this.asking = this.askOnce()
      .catch((error: unknown) => this.refused(error))
      .finally(() => {
        this.asking = undefined;
      });
  }

  private async askOnce(): Promise<void> {
    const mark = this.queue.mark;
    const askedAt = this.clock.now();
    const observation = await this.observe();
    const state = vector(this.actor.embodiment.state, observation.state, 'state', 'invalid_state');
    if (this.isSimilar(state)) {
      this.counter.similarSkipped += 1;
      this.askAgainAt = askedAt + this.period;
      return;
    }
    const chunk = await this.actor.act(observation, {
      deadlineMs: this.maxAgeMs,
      signal: this.stop.signal,
      ...(this.delay === undefined ? {} : { delay: this.delay }),
    });
    const age = this.clock.now() - askedAt;
    this.latency.add(age);
    this.errorsInARow = 0;
    this.refusalsInARow = 0;
    this.delay = { steps: this.queue.mark - mark, latencyMs: age };
    if (age > this.maxAgeMs || !this.queue.adopt(chunk, mark)) {
      this.counter.staleChunks += 1;
      this.late(age);
      return;
    }
    this.lateInARow = 0;
    this.plannedFrom = askedAt;
    this.chunkState = state;
    if (this.last === undefined) this.limits.startAt(state);
    this.options.onChunk?.(chunk);
  }

  /** A way that is always too slow is said, not suffered in silence: the robot holds or stops. */
  private late(age: number): void {
    this.lateInARow += 1;
    if (this.lateInARow % LATE_IN_A_ROW !== 0) return;
    this.options.onError?.(
      new ArmatureError(
        'timeout',
        `${this.lateInARow} chunks in a row came too late, the last after ${Math.round(age)} ms`,
        { field: 'maxAgeMs', fix: 'Mend the network, or allow older chunks if the task does.' },
      ),
    );
  }

  /** What is seen at this tick, looked at once. */
  private observe(): Promise<Observation<S>> {
    if (this.seen?.tick === this.tick && this.options.record !== undefined) return this.seen.what;
    const what = Promise.resolve(this.options.observe({ tick: this.tick }));
    this.seen = { tick: this.tick, what };
    return what;
  }

  private isSimilar(state: Float32Array): boolean {
    const { similar } = this.options;
    const before = this.chunkState;
    if (similar === undefined || before === undefined || this.queue.left(Infinity) === 0) {
      return false;
    }
    const limits: Readonly<Record<string, number | undefined>> = similar;
    return this.actor.embodiment.state.every(({ name }, i) => {
      const limit = limits[name];
      return limit === undefined || Math.abs((state[i] ?? NaN) - (before[i] ?? NaN)) <= limit;
    });
  }

  private refused(error: unknown): void {
    if (this.stopped) return;
    if (!(error instanceof ArmatureError) || this.actor.status === 'closed')
      return this.fail(error);
    this.options.onError?.(error);
    this.askAgainAt = this.clock.now() + Math.min(1000, 20 * 2 ** this.errorsInARow);
    this.errorsInARow += 1;
    this.refusalsInARow = error.retryable ? 0 : this.refusalsInARow + 1;
    if (this.refusalsInARow >= MAX_REFUSALS) this.fail(error);
  }

  private fail(error: unknown): void {
    this.failure = { error };
    this.stop.abort();
  }

  private get stopped(): boolean {
    return this.stop.signal.aborted;
  }
}

function positive(field: string, value: number): void {
  if (Number.isFinite(value) && value > 0) return;
  throw new ArmatureError('invalid_request', `${field} must be a positive number`, {
    field,
    fix: `Give a positive ${field}.`,
  });
}
