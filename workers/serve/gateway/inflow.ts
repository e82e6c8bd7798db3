import { MAX_FRAME_BYTES, type SessionClaims } from '@armature/sdk/contract';
import type { WebSocket } from 'ws';
import type { Clock, Timer } from '../clock.ts';
import { bytesOf } from './raw-data.ts';

/** Frames a second for each observation that a session may send, and besides for all that is none. */
const FRAMES_PER_OBSERVATION = 4;
const FRAMES_BESIDES = 20;
/** Frames that may come at once. */
const FRAMES_AT_ONCE = 16;
/** Bytes of an observation that are not pixels, at most. */
const BYTES_BESIDES = 256 << 10;
/** A connection that sends more than it may for as long as this is given up, ms. */
const PATIENCE_MS = 10_000;
/** How long it then has to read why, ms: its own farewell is not waited for. */
const LINGER_MS = 1_000;

/** A frame as it came. */
export interface RawFrame {
  readonly bytes: Uint8Array;
  readonly isBinary: boolean;
}

export interface InflowOptions {
  readonly socket: WebSocket;
  readonly claims: Pick<SessionClaims, 'limits' | 'embodiment'>;
  readonly clock: Clock;
  readonly after: Timer;
  /** Takes a frame whose turn it is. */
  readonly receive: (frame: RawFrame) => void;
  /** Told once of a sender that does not slow down; nothing of it is received from then on. */
  readonly onFlood: () => void;
}

/**
 * What comes in on one connection, before any of it is read: as many frames and bytes as its robot can
 * need. What is beyond waits, and the socket is not read until it has gone, so that it is the sender who
 * is held up and not the event loop.
 */
export class Inflow {
  private readonly options: InflowOptions;
  private readonly frames: Allowance;
  private readonly bytes: Allowance;
  private readonly waiting: RawFrame[] = [];
  /** Since when more has come than may, ms. */
  private overSince: number | undefined;
  private stopTimer: (() => void) | undefined;
  private isOver = false;

  constructor(options: InflowOptions) {
    const { socket, claims, clock } = options;
    const { max_hz } = claims.limits;
    const now = clock.now();
    this.options = options;
    this.frames = new Allowance(
      FRAMES_PER_OBSERVATION * max_hz + FRAMES_BESIDES,
      FRAMES_AT_ONCE,
      now,
    );
    this.bytes = new Allowance(2 * max_hz * observationBytes(claims), MAX_FRAME_BYTES, now);
    socket.on('message', (data, isBinary) => this.arrive({ bytes: bytesOf(data), isBinary }));
    // `ws` has answered the one and noted the other already: they are counted, and not handed on.
    socket.on('ping', () => this.count());
    socket.on('pong', () => this.count());
  }

  /** Nothing is received from here on. */
  end(): void {
    this.isOver = true;
    this.waiting.length = 0;
    this.stopTimer?.();
  }

  private arrive(frame: RawFrame): void {
    if (this.isOver) return;
    this.waiting.push(frame);
    this.pass();
  }

  private count(): void {
    this.frames.spend(1, this.options.clock.now());
    this.pass();
  }

  /** Hands on what may be; while there is more, or there has been, the socket is not read. */
  private pass(): void {
    if (this.isOver || this.stopTimer !== undefined) return;
    const { clock, socket, receive } = this.options;
    while (!this.isOver) {
      const now = clock.now();
      const wait = Math.max(this.frames.wait(now), this.bytes.wait(now));
      if (wait > 0) return this.hold(now, wait);
      const frame = this.waiting.shift();
      if (frame === undefined) return socket.isPaused ? socket.resume() : undefined;
      if (this.frames.isWhole(now)) this.overSince = undefined;
      this.frames.spend(1, now);
      this.bytes.spend(frame.bytes.length, now);
      receive(frame);
    }
  }

  private hold(now: number, waitMs: number): void {
    const { after, onFlood, socket } = this.options;
    socket.pause();
    this.overSince ??= now;
    if (now - this.overSince > PATIENCE_MS) {
      this.end();
      onFlood();
      after(LINGER_MS, () => socket.terminate());
      return;
    }
    this.stopTimer = after(waitMs, () => {
      this.stopTimer = undefined;
      this.pass();
    });
  }
}

/**
 * So much a second, and so much at once. What is spent beyond that is owed: nothing more is allowed
 * until it has come in. Of something large the whole passes as soon as any of it may.
 */
class Allowance {
  private readonly perMs: number;
  private readonly most: number;
  private left: number;
  private at: number;

  /** @param now ms. */
  constructor(perSecond: number, most: number, now: number) {
    this.perMs = perSecond / 1000;
    this.most = most;
    this.left = most;
    this.at = now;
  }

  spend(amount: number, now: number): void {
    this.left = this.leftAt(now) - amount;
    this.at = now;
  }

  /** How long until something is left, whole ms; 0 when there is. */
  wait(now: number): number {
    return Math.max(0, Math.ceil((1 - this.leftAt(now)) / this.perMs));
  }

  isWhole(now: number): boolean {
    return this.leftAt(now) === this.most;
  }

  private leftAt(now: number): number {
    return Math.min(this.most, this.left + (now - this.at) * this.perMs);
  }
}

/** More than an observation of this robot can take: all of its pictures as pixels, and the rest. */
function observationBytes({ embodiment }: Pick<SessionClaims, 'embodiment'>): number {
  const pixels = embodiment.spec.cameras.reduce((sum, c) => sum + c.width * c.height * 3, 0);
  return pixels + BYTES_BESIDES;
}
