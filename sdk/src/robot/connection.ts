import {
  encodeFrame,
  type ArmatureError,
  type ServerFrame,
  type SessionGrant,
  type WireChunk,
  type WireReasoning,
} from '../../contract/index.ts';
import { cancelled } from '../backoff.ts';
import type { Clock } from './clock.ts';
import { deferred } from './deferred.ts';
import {
  errorFromFrame,
  lostConnection,
  noAnswer,
  notTaken,
  readFrame,
  superseded,
} from './server-frames.ts';
import { Silence } from './silence.ts';
import type { RobotSocket } from './socket.ts';

export type Welcome = Extract<ServerFrame, { type: 'welcome' }>;

/** Why something that arrived was not used. */
export type Dropped = 'late' | 'duplicate' | 'foreign' | 'invalid';

export interface ConnectionEvents {
  /** The worker prepares the policy. */
  readonly loading: (message: string) => void;
  /** Something arrived that nobody may use. */
  readonly dropped: (why: Dropped) => void;
  /** An error frame that answers no observation. */
  readonly error: (error: ArmatureError) => void;
  /** A reasoning that was made beside the chunks. */
  readonly reasoning: (reasoning: WireReasoning) => void;
  /** The worker is leaving; what it gives along for the next one. */
  readonly drain: (reason: string, resume: string | undefined) => void;
  /** Question after question came to nothing and nothing was heard: the path may be dead, which nobody tells. */
  readonly silent: () => void;
  /** The open connection is gone without having been closed from here. */
  readonly lost: (error: ArmatureError) => void;
}

interface Pending {
  readonly resolve: (chunk: WireChunk) => void;
  readonly reject: (error: ArmatureError) => void;
  readonly release: () => void;
}

/** Bytes that still wait to leave from which on no observation follows: it would be old when it leaves. */
const MAX_UNSENT_BYTES = 128 << 10;
/** How many answered observations are remembered to tell a duplicate from a late chunk. */
const REMEMBERED = 1024;

/** One welcomed socket: one epoch of a session. Answers are paired by `seq` and epoch. */
export class Connection {
  readonly welcome: Welcome;
  private readonly socket: RobotSocket;
  private readonly events: ConnectionEvents;
  private readonly clock: Clock;
  private readonly epochs: Set<number>;
  private readonly pending = new Map<number, Pending>();
  private readonly answered = new Set<number>();
  private readonly silence: Silence;
  private highestSent = -1;
  private open = true;
  private retiring = false;
  private stopGrace = (): void => undefined;
  private readonly gone = deferred<undefined>();

  constructor(socket: RobotSocket, welcome: Welcome, events: ConnectionEvents, clock: Clock) {
    this.socket = socket;
    this.welcome = welcome;
    this.events = events;
    this.clock = clock;
    this.epochs = new Set([welcome.epoch]);
    this.silence = new Silence(clock.now());
  }

  get isOpen(): boolean {
    return this.open;
  }

  /** Whether chunks of this epoch came, or may come, on this connection. */
  knows(epoch: number): boolean {
    return this.epochs.has(epoch);
  }

  /** Why no observation can be sent now: what was sent before has not left; undefined when one can. */
  congestion(): ArmatureError | undefined {
    const { unsent } = this.socket;
    if (unsent <= MAX_UNSENT_BYTES) return undefined;
    this.unanswered();
    return notTaken(unsent);
  }

  /**
   * Sends an observation and waits for its chunk.
   * @throws ArmatureError `timeout`, `cancelled` (by the signal, or a newer observation was answered
   *   first), `unavailable` when the connection goes, or what the worker answered.
   */
  request(
    seq: number,
    frame: Uint8Array,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<WireChunk> {
    return new Promise((resolve, reject) => {
      const giveUp = (error: ArmatureError): void => {
        this.settle(seq)?.reject(error);
      };
      const abort = (): void => {
        if (signal !== undefined) giveUp(cancelled(signal));
      };
      const stopTimer = this.clock.after(timeoutMs, () => {
        giveUp(noAnswer(timeoutMs));
        this.unanswered();
      });
      signal?.addEventListener('abort', abort, { once: true });
      this.pending.set(seq, {
        resolve,
        reject,
        release: () => {
          stopTimer();
          signal?.removeEventListener('abort', abort);
        },
      });
      this.highestSent = Math.max(this.highestSent, seq);
      if (signal?.aborted === true) abort();
      else if (!this.open || !this.socket.send(frame)) giveUp(lostConnection('is closing'));
    });
  }

  /** Hands the worker a newer token on this socket; chunks may then carry its epoch too. */
  refresh(grant: SessionGrant): void {
    this.epochs.add(grant.session.epoch);
    this.socket.send(encodeFrame({ type: 'refresh', token: grant.token }));
  }

  /** Says goodbye and waits until the worker has closed, at most `timeoutMs`. */
  async bye(timeoutMs: number): Promise<void> {
    if (!this.open) return;
    this.open = false;
    this.rejectAll(lostConnection('was closed'));
    this.socket.send(encodeFrame({ type: 'bye' }));
    const limit = deferred<undefined>();
    const stopTimer = this.clock.after(timeoutMs, () => limit.resolve(undefined));
    await Promise.race([this.gone.promise, limit.promise]);
    stopTimer();
    this.socket.close(1000, 'bye');
  }

  /**
   * Closes the socket in favour of another once what is still asked for here is answered; after `graceMs` the
   * rest of it is rejected.
   */
  retire(graceMs: number): void {
    this.open = false;
    this.retiring = true;
    this.stopGrace = this.clock.after(graceMs, () => this.leave());
    this.leaveWhenAnswered();
  }

  /** A frame that arrived after the welcome. */
  receive(data: Uint8Array | string): void {
    this.silence.heard(this.clock.now());
    const frame = readFrame(data);
    if (frame === undefined) return this.events.dropped('invalid');
    switch (frame.type) {
      case 'chunk':
        return this.chunk(frame);
      case 'reasoning':
        if (this.epochs.has(frame.epoch)) return this.events.reasoning(frame);
        return this.events.dropped('foreign');
      case 'error':
        return this.refusal(frame);
      case 'drain':
        return this.events.drain(frame.reason, frame.resume);
      case 'loading':
        return this.events.loading(frame.message);
      case 'welcome':
        return this.events.dropped('duplicate');
    }
  }

  /** The socket has gone. */
  closed(code: number, reason: string): void {
    this.gone.resolve(undefined);
    this.stopGrace();
    const error = lostConnection(`ended (${code}${reason === '' ? '' : `: ${reason}`})`);
    this.rejectAll(error);
    if (!this.open) return;
    this.open = false;
    this.events.lost(error);
  }

  private unanswered(): void {
    const isDead = this.silence.unanswered(this.clock.now(), this.socket.unsent);
    if (isDead && this.open) this.events.silent();
  }

  private leaveWhenAnswered(): void {
    if (this.retiring && this.pending.size === 0) this.leave();
  }

  private leave(): void {
    this.retiring = false;
    this.stopGrace();
    this.rejectAll(lostConnection('was replaced by a new one'));
    this.socket.close(1000, 'replaced');
  }

  private chunk(chunk: WireChunk): void {
    if (!this.epochs.has(chunk.epoch) || chunk.seq > this.highestSent) {
      return this.events.dropped('foreign');
    }
    const pending = this.settle(chunk.seq);
    if (pending === undefined) {
      return this.events.dropped(this.answered.has(chunk.seq) ? 'duplicate' : 'late');
    }
    this.remember(chunk.seq);
    pending.resolve(chunk);
    for (const seq of [...this.pending.keys()]) {
      if (seq < chunk.seq) this.settle(seq)?.reject(superseded(seq, chunk.seq));
    }
  }

  private refusal(frame: Extract<ServerFrame, { type: 'error' }>): void {
    const error = errorFromFrame(frame);
    if (frame.seq === undefined) return this.events.error(error);
    const pending = this.settle(frame.seq);
    if (pending === undefined) return this.events.dropped('late');
    pending.reject(error);
  }

  private settle(seq: number): Pending | undefined {
    const pending = this.pending.get(seq);
    this.pending.delete(seq);
    pending?.release();
    this.leaveWhenAnswered();
    return pending;
  }

  private remember(seq: number): void {
    this.answered.add(seq);
    const oldest = this.answered.values().next();
    if (this.answered.size > REMEMBERED && oldest.done !== true) this.answered.delete(oldest.value);
  }

  private rejectAll(error: ArmatureError): void {
    for (const seq of [...this.pending.keys()]) this.settle(seq)?.reject(error);
  }
}
