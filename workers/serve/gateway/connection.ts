import {
  ArmatureError,
  checkClientFrame,
  decodeFrame,
  type ClientFrame,
  type SessionClaims,
} from '@armature/sdk/contract';
import type { WebSocket } from 'ws';
import type { Timer } from '../clock.ts';
import { RobotSession, type SessionDeps } from '../session/index.ts';
import { Inflow, type RawFrame } from './inflow.ts';
import { Outbox } from './outbox.ts';
import type { LiveConnection } from './session-table.ts';
import type { TokenVerifier, VerifiedToken } from './session-token.ts';

/** After expiry a robot has this long to refresh its token before the socket is closed, ms. */
const REFRESH_GRACE_MS = 30_000;
const LOADING_EVERY_MS = 1_000;
/** How long `bye` waits for the session's records to reach the database, ms. */
const BYE_FLUSH_MS = 3_000;
/** Most values in a robot's frame: an observation has a few dozen, since an array counts as its marker's. */
export const MAX_CLIENT_VALUES = 1_024;

export interface ConnectionDeps extends SessionDeps {
  readonly verify: TokenVerifier;
  readonly after: Timer;
  /** Carries what is recorded to the database. */
  readonly flush: (timeoutMs: number) => Promise<boolean>;
}

/** One robot on one WebSocket in the dialect armature.v1. */
export class Connection implements LiveConnection {
  readonly session: RobotSession;
  private readonly socket: WebSocket;
  private readonly deps: ConnectionDeps;
  private readonly outbox: Outbox;
  private expiresAt: number;
  private stopExpiry = (): void => undefined;
  private answered = true;
  private isRefreshing = false;
  private isOver = false;

  constructor(socket: WebSocket, token: VerifiedToken, deps: ConnectionDeps, onEnd: () => void) {
    this.socket = socket;
    this.deps = deps;
    this.outbox = new Outbox(socket);
    this.session = new RobotSession(token.claims, deps, this.outbox);
    this.expiresAt = token.expiresAt;
    this.watchExpiry();
    const inflow = new Inflow({
      socket,
      claims: token.claims,
      clock: deps.clock,
      after: deps.after,
      receive: (frame) => void this.receive(frame),
      onFlood: () => this.giveUp(),
    });
    socket.on('pong', () => (this.answered = true));
    // `ws` closes the socket after an error by itself: oversized and malformed WebSocket frames.
    socket.on('error', (error) =>
      deps.log.info({ session: this.session.claims.sub, reason: error.message }, 'socket error'),
    );
    socket.on('close', (code) => {
      this.isOver = true;
      inflow.end();
      this.stopExpiry();
      this.session.end();
      this.outbox.close();
      deps.metrics.sessionsClosed.inc({ code: String(code) });
      onEnd();
    });
    void this.open();
  }

  /** Asks whether the robot is there; one that did not answer the last time is let go. */
  ping(): void {
    if (!this.answered) {
      this.socket.terminate();
      return;
    }
    this.answered = false;
    this.socket.ping();
  }

  /** Tells the robot to reconnect elsewhere; it is served until it goes or is closed. */
  drain(reason: string): void {
    this.outbox.send({ type: 'drain', reason, resume: this.session.resumeToken });
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason);
  }

  /** Ends a socket whose robot does not answer the closing handshake. */
  terminate(): void {
    this.socket.terminate();
  }

  private async open(): Promise<void> {
    const tell = () => this.outbox.send({ type: 'loading', message: this.session.progress });
    const telling = setInterval(tell, LOADING_EVERY_MS);
    try {
      const opening = this.session.open();
      tell();
      const welcome = await opening;
      if (welcome === undefined) return;
      this.outbox.send(welcome);
      this.deps.metrics.sessionsOpened.inc();
    } catch (error) {
      this.session.refuse(error);
      const code = error instanceof ArmatureError ? error.code : 'internal';
      this.close(error instanceof ArmatureError && !error.retryable ? 1008 : 1013, code);
    } finally {
      clearInterval(telling);
    }
  }

  private giveUp(): void {
    this.session.refuse(flooding(this.session.claims));
    this.session.end();
    this.close(1008, 'rate_limited');
  }

  private async receive(raw: RawFrame): Promise<void> {
    if (this.isOver) return;
    let frame: unknown;
    try {
      frame = readFrame(raw);
      await this.handle(checkClientFrame(frame));
    } catch (error) {
      this.session.refuse(error, seqOf(frame));
    }
  }

  private async handle(frame: ClientFrame): Promise<void> {
    switch (frame.type) {
      case 'observation':
        if (this.deps.clock.wall() >= this.expiresAt) this.session.refuse(expired(), frame.seq);
        else this.session.observe(frame);
        return;
      case 'refresh':
        await this.refresh(frame.token);
        return;
      case 'bye':
        // Nothing that comes after it is heard.
        this.isOver = true;
        this.session.end();
        await this.deps.flush(BYE_FLUSH_MS);
        this.close(1000, 'bye');
        return;
    }
  }

  /** One at a time: a signature is checked for each. */
  private async refresh(token: string): Promise<void> {
    if (this.isRefreshing) {
      throw new ArmatureError('rate_limited', 'a token of this session is being checked already', {
        field: 'token',
        fix: 'Send one refresh frame, and the next once its token expires.',
      });
    }
    this.isRefreshing = true;
    try {
      const verified = await this.deps.verify(token);
      if (!this.isOver) this.goOnWith(verified);
    } finally {
      this.isRefreshing = false;
    }
  }

  private goOnWith(token: VerifiedToken): void {
    const now = this.session.claims;
    const next = token.claims;
    const same =
      next.sub === now.sub &&
      next.tenant === now.tenant &&
      next.epoch >= now.epoch &&
      next.policy.digest === now.policy.digest;
    if (!same) {
      throw new ArmatureError(
        'forbidden',
        'the token is for another session, an earlier epoch or another policy',
        {
          field: 'token',
          fix: 'Refresh with a token of this session; reconnect for another policy.',
        },
      );
    }
    this.session.renew(next);
    this.expiresAt = Math.max(this.expiresAt, token.expiresAt);
    this.watchExpiry();
  }

  private watchExpiry(): void {
    this.stopExpiry();
    const left = this.expiresAt + REFRESH_GRACE_MS - this.deps.clock.wall();
    // Longer than a timer can wait, a token is checked at every observation all the same.
    if (left > 2 ** 31 - 1) return;
    const expire = (): void => this.close(1008, 'expired_token');
    this.stopExpiry = this.deps.after(Math.max(0, left), expire);
  }
}

function readFrame({ bytes, isBinary }: RawFrame): unknown {
  if (!isBinary) {
    throw new ArmatureError('invalid_frame', 'frames are binary msgpack, this one is text', {
      fix: 'Send frames of the codec as binary messages.',
    });
  }
  return decodeFrame(bytes, { maxValues: MAX_CLIENT_VALUES });
}

/** Why a connection is closed that sends more than it may. */
export function flooding({ limits }: SessionClaims): ArmatureError {
  return new ArmatureError('rate_limited', 'far more frames came than this session may send', {
    fix: `Send at most ${limits.max_hz} observations a second.`,
  });
}

/** Number of the observation that a frame seems to be, so that its sender knows what was refused. */
function seqOf(frame: unknown): number | undefined {
  if (typeof frame !== 'object' || frame === null || !('seq' in frame)) return undefined;
  return Number.isSafeInteger(frame.seq) ? (frame.seq as number) : undefined;
}

function expired(): ArmatureError {
  return new ArmatureError('expired_token', 'the session token has expired', {
    field: 'token',
    fix: 'Send a refresh frame with a new token of this session.',
  });
}
