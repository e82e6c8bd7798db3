import {
  ArmatureError,
  checkObservation,
  type Chunking,
  type SessionClaims,
  type WireImage,
  type WireObservation,
} from '@armature/sdk/contract';
import { deviationOf, type CommandHistory, type LastCommand } from '../chunks/index.ts';
import type { Clock } from '../clock.ts';
import type { EarlierState, PolicyPort, PreviousChunk } from '../policies/index.ts';
import { CaptureClock } from './capture-clock.ts';
import { assertOffered, type ChunkingMode } from './chunking-modes.ts';
import type { SessionDeps } from './deps.ts';
import { readResumeToken } from './handover.ts';
import { RateLimit } from './rate-limit.ts';

/** An observation that may be computed. Times in ms on the worker's monotonic clock. */
export interface Admitted {
  readonly seq: number;
  readonly images: Readonly<Record<string, WireImage>>;
  /** f32 [S]. */
  readonly state: Float32Array;
  /** The state of the observation before; absent in a session's first. */
  readonly earlier?: EarlierState;
  readonly instruction: string;
  readonly command: LastCommand;
  /** How far the robot is from where the chunk before had it go; absent where that cannot be told. */
  readonly deviation?: number;
  /** What its chunk is to go on from; absent without real-time chunking, or where it is not known. */
  readonly previous?: PreviousChunk;
  readonly arrivedAt: number;
  /** When it was made, as far as that can be told from here. */
  readonly observedAt: number;
  /** By when the robot runs out of what this chunk is for. */
  readonly deadline: number;
  /** From when on a chunk is useless; Infinity where the robot set no deadline. */
  readonly expires: number;
  /** Whether the robot wants to be told of a reasoning before the chunk that it drives. */
  readonly tellReasoning: boolean;
}

/** Decides which observations of one session are computed. */
export class Admission {
  private readonly claims: SessionClaims;
  private readonly history: CommandHistory;
  private readonly clock: Clock;
  private readonly runtime: Pick<PolicyPort, 'refusalOf'>;
  private readonly capture = new CaptureClock();
  private readonly rate: RateLimit;
  private lastSeq = -1;
  private felt: { readonly state: Float32Array; readonly capturedAt: number } | undefined;
  private instruction: string | undefined;
  private chunking: Chunking = { mode: 'off' };
  private toldReasonings = false;
  /** Observations on end whose chunks go on from another. */
  private inARow = 0;
  /** Steps that the last chunk known of cost. */
  private delay = 0;

  constructor(
    claims: SessionClaims,
    history: CommandHistory,
    { clock, runtime }: Pick<SessionDeps, 'clock' | 'runtime'>,
  ) {
    this.claims = claims;
    this.history = history;
    this.clock = clock;
    this.runtime = runtime;
    this.rate = new RateLimit(claims.limits.max_hz, clock.now());
  }

  /**
   * @throws ArmatureError naming the field: `invalid_observation`, `missing_camera`,
   *   `invalid_state`, `rate_limited`, `invalid_request` for real-time chunking in a way that the policy
   *   has not, or `timeout` for one that is too late on arrival.
   * @param offered ways of real-time chunking that the session's policy has
   */
  admit(observation: WireObservation, offered: readonly ChunkingMode[]): Admitted {
    const { spec } = this.claims.embodiment;
    const arrivedAt = this.clock.now();
    this.checkOrder(observation.seq);
    if (!this.rate.take(arrivedAt)) {
      throw new ArmatureError(
        'rate_limited',
        `more than ${this.claims.limits.max_hz} observations a second`,
        { field: 'seq', fix: `Send at most ${this.claims.limits.max_hz} observations a second.` },
      );
    }
    checkObservation(spec, observation);
    assertOffered(observation.chunking, offered);
    this.toldReasonings = observation.reasoning_frames ?? this.toldReasonings;
    if (observation.resume !== undefined) this.takeOver(observation.resume);
    const command = this.history.resolve(observation.executed);
    const instruction = this.instructionOf(observation);
    const previous = this.unlocked(this.goesOnFrom(observation));
    const observedAt = arrivedAt - this.capture.age(observation.captured_at, arrivedAt);
    const expires = observedAt + (observation.deadline_ms ?? Infinity);
    const state = observation.state.toFloat32();
    const earlier = this.feel(state, observation.captured_at);
    const reached = this.history.reached(observation.executed);
    const deviation = reached === undefined ? undefined : deviationOf(spec, reached, state);
    if (expires <= arrivedAt) throw tooLate('it was older than its deadline on arrival');
    return {
      seq: observation.seq,
      images: observation.images,
      state,
      ...(earlier === undefined ? {} : { earlier }),
      instruction,
      command,
      ...(deviation === undefined ? {} : { deviation }),
      ...(previous === undefined ? {} : { previous }),
      arrivedAt,
      observedAt,
      deadline: Math.min(expires, observedAt + (1000 * spec.horizon) / spec.control_hz),
      expires,
      tellReasoning: this.toldReasonings,
    };
  }

  /** The task in force. */
  get task(): string | undefined {
    return this.instruction;
  }

  /** Remembers what the robot feels. @returns what it felt before, on its own clock */
  private feel(state: Float32Array, capturedAt: number): EarlierState | undefined {
    const before = this.felt;
    this.felt = { state, capturedAt };
    if (before === undefined) return undefined;
    const { control_hz } = this.claims.embodiment.spec;
    const periods = ((capturedAt - before.capturedAt) / 1000) * control_hz;
    return { state: before.state, periods };
  }

  private goesOnFrom({ chunking, delay, executed }: WireObservation): PreviousChunk | undefined {
    this.chunking = chunking ?? this.chunking;
    this.delay = delay?.steps ?? this.delay;
    if (this.chunking.mode === 'off') return undefined;
    const actions = this.history.remaining(executed);
    if (actions === undefined) return undefined;
    const left = { actions, delay: this.delay };
    if (this.chunking.mode === 'trained') return { ...left, schedule: 'trained' };
    const guided = { ...left, schedule: this.chunking.schedule ?? 'exp' };
    return this.chunking.mode === 'guided' ? guided : { ...guided, correction: 'pulled-back' };
  }

  /** What a chunk goes on from, but for one that the robot wants free after so many that did. */
  private unlocked(previous: PreviousChunk | undefined): PreviousChunk | undefined {
    const most = this.chunking.mode === 'off' ? undefined : this.chunking.max_in_a_row;
    const free = previous === undefined || this.inARow >= (most ?? Infinity);
    this.inARow = free ? 0 : this.inARow + 1;
    return free ? undefined : previous;
  }

  private takeOver(token: string): void {
    const handover = readResumeToken(this.claims, token);
    if (handover === undefined) return;
    this.instruction ??= handover.instruction;
    this.history.restore(handover.command);
  }

  private checkOrder(seq: number): void {
    if (seq <= this.lastSeq) {
      throw new ArmatureError('invalid_observation', `seq ${seq} is not after ${this.lastSeq}`, {
        field: 'seq',
        fix: 'Number observations in increasing order within an epoch.',
      });
    }
    this.lastSeq = seq;
  }

  /** The instruction stays in force until another is sent; after one that cannot be read, none is. */
  private instructionOf(observation: WireObservation): string {
    const { instruction } = observation;
    if (instruction !== undefined && instruction !== this.instruction) {
      const refusal = this.runtime.refusalOf(instruction);
      this.instruction = refusal === undefined ? instruction : undefined;
      if (refusal !== undefined) throw unreadable(refusal);
    }
    if (this.instruction === undefined) {
      throw new ArmatureError('invalid_observation', 'no instruction is in force', {
        field: 'instruction',
        fix: 'Send an instruction with the first observation.',
      });
    }
    return this.instruction;
  }
}

function unreadable(why: string): ArmatureError {
  return new ArmatureError('invalid_observation', `instruction: ${why}`, {
    field: 'instruction',
    fix: 'Say in a few words what to do.',
  });
}

export function tooLate(why: string): ArmatureError {
  return new ArmatureError('timeout', `the observation was dropped: ${why}`, {
    field: 'deadline_ms',
    fix: 'Send a newer observation, with a longer deadline if the network needs it.',
  });
}

export function superseded(why: string): ArmatureError {
  return new ArmatureError('cancelled', why, { fix: 'Nothing: the newer one is being computed.' });
}
