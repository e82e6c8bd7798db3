import {
  ArmatureError,
  decodeFrame,
  encodeFrame,
  fromOpenpi,
  openpiObservation,
  toOpenpi,
  type ServerFrame,
  type WireChunk,
} from '@armature/sdk/contract';
import type { WebSocket } from 'ws';
import { RobotSession, type SessionOutlet } from '../../session/index.ts';
import { flooding, MAX_CLIENT_VALUES, type ConnectionDeps } from '../connection.ts';
import { Inflow, type RawFrame } from '../inflow.ts';
import type { LiveConnection } from '../session-table.ts';
import type { OpenpiGrant } from './access.ts';

/** Requests that may wait behind the one that is computed; a client that keeps to the wire has none. */
const MAX_WAITING = 8;
/** A token is renewed when this share of its life is left. */
const RENEW_AT = 0.5;
/** Waits after a renewal that failed, ms: the first, doubled each time, and the longest. */
const RENEW_AGAIN_MS = 250;
const RENEW_AGAIN_MOST_MS = 30_000;

/**
 * One robot on one WebSocket in openpi's dialect: metadata first, then a reply for every request in
 * their order. An error is a text frame, after which the socket closes with 1011, as openpi's own
 * server does; it never holds a trace.
 */
export class OpenpiConnection implements LiveConnection {
  readonly session: RobotSession;
  private readonly socket: WebSocket;
  private readonly deps: ConnectionDeps;
  private readonly grant: OpenpiGrant;
  private readonly waiting: { readonly bytes: Uint8Array; readonly arrivedAt: number }[] = [];
  private seq = 0;
  private startedAt: number | undefined;
  private previousMs: number | undefined;
  private ready = false;
  private isOver = false;
  private answered = true;
  private renewal: NodeJS.Timeout | undefined;

  constructor(socket: WebSocket, grant: OpenpiGrant, deps: ConnectionDeps, onEnd: () => void) {
    this.socket = socket;
    this.deps = deps;
    this.grant = grant;
    const outlet: SessionOutlet = {
      send: (frame) => this.receiveAnswer(frame),
      offer: (chunk) => chunk.send(),
    };
    this.session = new RobotSession(grant.token.claims, deps, outlet);
    const inflow = new Inflow({
      socket,
      claims: grant.token.claims,
      clock: deps.clock,
      after: deps.after,
      receive: (frame) => this.receive(frame),
      onFlood: () => this.fail(flooding(grant.token.claims)),
    });
    socket.on('pong', () => (this.answered = true));
    socket.on('error', (error) =>
      deps.log.info({ session: this.session.claims.sub, reason: error.message }, 'socket error'),
    );
    socket.on('close', (code) => {
      inflow.end();
      this.isOver = true;
      clearTimeout(this.renewal);
      this.session.end();
      deps.metrics.sessionsClosed.inc({ code: String(code) });
      onEnd();
      grant.end?.();
    });
    this.scheduleRenewal(grant.token.expiresAt);
    void this.open();
  }

  ping(): void {
    if (!this.answered) {
      this.socket.terminate();
      return;
    }
    this.answered = false;
    this.socket.ping();
  }

  /** The dialect has no word for it: the client is served until it is closed. */
  drain(): void {
    this.deps.log.info({ session: this.session.claims.sub }, 'an openpi client cannot be moved');
  }

  close(code: number, reason: string): void {
    this.socket.close(code, reason);
  }

  terminate(): void {
    this.socket.terminate();
  }

  private async open(): Promise<void> {
    try {
      const welcome = await this.session.open();
      if (welcome?.type !== 'welcome') return;
      this.deps.metrics.sessionsOpened.inc();
      const { embodiment } = welcome;
      this.sendBytes({
        policy_version: welcome.policy_version,
        embodiment: embodiment.name,
        control_hz: embodiment.control_hz,
        action_horizon: embodiment.horizon,
        action_names: embodiment.action.map((joint) => joint.name),
        action_units: embodiment.action.map((joint) => joint.unit),
        observation: openpiObservation(embodiment),
        // The dialect has no word for what was executed, which real-time chunking needs.
        chunking: ['off'],
      });
      this.ready = true;
      this.next();
    } catch (error) {
      this.fail(error);
    }
  }

  private receive({ bytes, isBinary }: RawFrame): void {
    if (this.isOver) return;
    if (!isBinary) {
      this.fail(new ArmatureError('invalid_frame', 'requests are binary msgpack, this is text'));
    } else if (this.waiting.length >= MAX_WAITING) {
      this.fail(new ArmatureError('rate_limited', `${MAX_WAITING} requests wait already`));
    } else {
      this.waiting.push({ bytes, arrivedAt: this.deps.clock.now() });
      this.next();
    }
  }

  /** Begins the next request once the one before has its answer. */
  private next(): void {
    if (!this.ready || this.startedAt !== undefined) return;
    const request = this.waiting.shift();
    if (request === undefined) return;
    this.startedAt = request.arrivedAt;
    try {
      const { spec } = this.session.claims.embodiment;
      const envelope = { seq: this.seq++, capturedAt: this.deps.clock.wall() };
      this.session.observe(
        fromOpenpi(spec, decodeFrame(request.bytes, { maxValues: MAX_CLIENT_VALUES }), envelope),
      );
    } catch (error) {
      this.fail(error);
    }
  }

  private receiveAnswer(frame: ServerFrame): void {
    if (frame.type === 'chunk') this.reply(frame);
    else if (frame.type === 'error') this.failWith(frame);
  }

  private reply(chunk: WireChunk): void {
    const startedAt = this.startedAt ?? this.deps.clock.now();
    const serverMs = this.deps.clock.now() - startedAt;
    const { previousMs } = this;
    this.sendBytes(toOpenpi(chunk, { policyMs: chunk.timings.infer_ms, serverMs, previousMs }));
    this.previousMs = this.deps.clock.now() - startedAt;
    this.startedAt = undefined;
    this.next();
  }

  /** What the session has not refused itself, which counts that. */
  private fail(error: unknown): void {
    const isKnown = error instanceof ArmatureError;
    if (!isKnown) {
      this.deps.log.error({ err: error, session: this.session.claims.sub }, 'a request failed');
    }
    const known = isKnown
      ? error
      : new ArmatureError('internal', 'the request could not be computed');
    this.deps.metrics.countError(known.code);
    this.failWith(known);
  }

  private failWith(error: {
    readonly code: string;
    readonly message: string;
    readonly fix?: string | undefined;
  }): void {
    this.isOver = true;
    if (this.socket.readyState !== this.socket.OPEN) return;
    const fix = error.fix === undefined ? '' : ` ${error.fix}`;
    this.socket.send(`${error.code}: ${error.message}.${fix}`);
    this.socket.close(1011, error.code);
  }

  private sendBytes(frame: unknown): void {
    if (this.socket.readyState === this.socket.OPEN) {
      this.socket.send(encodeFrame(frame), { binary: true });
    }
  }

  private scheduleRenewal(expiresAt: number): void {
    const left = expiresAt - this.deps.clock.wall();
    const { renew } = this.grant;
    if (renew === undefined) this.renewIn(left, () => this.close(1008, 'expired_token'));
    else this.renewIn(left * RENEW_AT, () => void this.renew(renew, expiresAt));
  }

  private renewIn(ms: number, call: () => void): void {
    this.renewal = setTimeout(call, Math.min(2 ** 31 - 1, Math.max(0, ms)));
    this.renewal.unref();
  }

  /** The token in force is good until it expires: until then a renewal that fails is tried again. */
  private async renew(
    renew: NonNullable<OpenpiGrant['renew']>,
    expiresAt: number,
    waitMs = RENEW_AGAIN_MS,
  ): Promise<void> {
    try {
      const token = await renew();
      if (this.isOver) return;
      this.session.renew(token.claims);
      this.scheduleRenewal(token.expiresAt);
    } catch (error) {
      const left = expiresAt - this.deps.clock.wall();
      if (this.isOver) return;
      if (left <= 0) return this.fail(error);
      const { sub } = this.session.claims;
      this.deps.log.warn({ err: error, session: sub, left }, 'a token could not be renewed yet');
      const next = Math.min(RENEW_AGAIN_MOST_MS, 2 * waitMs);
      this.renewIn(Math.min(waitMs, left), () => void this.renew(renew, expiresAt, next));
    }
  }
}
