import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  ALLOCATIONS_PATH,
  ArmatureError,
  MAX_FRAME_BYTES,
  ROBOT_PATH,
  ROBOT_SUBPROTOCOL,
  type SessionClaims,
  type WorkerAllocation,
} from '@armature/sdk/contract';
import { WebSocketServer, type WebSocket } from 'ws';
import { fetchAhead } from '../session/index.ts';
import { Allocations } from './allocations.ts';
import { Connection, type ConnectionDeps } from './connection.ts';
import { credentials } from './credentials.ts';
import { pathOf, refuseRequest, refuseUpgrade } from './http-answers.ts';
import { answerMetrics, isLocal, METRICS_PATH } from './metrics-server.ts';
import type { OpenpiAccess } from './openpi/access.ts';
import { OpenpiConnection } from './openpi/connection.ts';
import { SessionTable, type LiveConnection } from './session-table.ts';

/** Load balancers drop a silent socket after 60 s, some after 25. */
const PING_EVERY_MS = 15_000;
/** A place is kept for this long for a robot that has been told to come. */
const RESERVED_MS = 30_000;

/** Who may be let in, once there is a socket for it. */
interface Caller {
  readonly claims: SessionClaims;
  readonly connect: (socket: WebSocket, onEnd: () => void) => LiveConnection;
  /** Gives up what was made for a caller that gets no connection. */
  readonly leave: () => void;
}

export interface GatewayOptions extends ConnectionDeps {
  readonly host: string;
  readonly port: number;
  /** Connections held at once. */
  readonly maxSessions: number;
  /** Lets clients in that speak openpi's dialect. */
  readonly openpi: Pick<OpenpiAccess, 'open'>;
  /** How often robots are asked whether they are there, ms; under what networks drop silence after. */
  readonly pingEveryMs?: number;
  /** Whether the engines answer. */
  readonly healthy: () => boolean;
}

/** HTTP and WebSocket front of a worker. */
export class Gateway {
  private readonly options: GatewayOptions;
  private readonly http: Server;
  private readonly sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: () => ROBOT_SUBPROTOCOL,
  });
  private readonly table: SessionTable;
  private readonly pings: NodeJS.Timeout;
  private readonly allocations: Allocations;
  /** What was fetched for sessions that have not connected yet, by session: how to let go of it. */
  private readonly ahead = new Map<string, () => void>();
  private draining = false;

  private constructor(options: GatewayOptions) {
    this.options = options;
    this.allocations = new Allocations(options.maxSessions, (session) => this.letGo(session));
    this.table = new SessionTable({
      highestSpent: (session) => options.ledger.epochs.highestSpent(session),
      hasEnded: (session) => options.ledger.epochs.hasEnded(session),
      onReplaced: ({ sub, epoch }, by) => {
        options.metrics.sessionsReplaced.inc();
        options.log.info({ session: sub, epoch, by: by.epoch }, 'session_replaced');
      },
    });
    this.http = createServer((request, response) => void this.answer(request, response));
    this.http.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      void this.upgrade(request, socket, head);
    });
    this.pings = setInterval(() => {
      for (const connection of this.table.all()) connection.ping();
    }, options.pingEveryMs ?? PING_EVERY_MS);
    this.pings.unref();
  }

  /** Listens; resolves when robots can connect. */
  static async listen(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options);
    gateway.http.listen(options.port, options.host);
    await once(gateway.http, 'listening');
    return gateway;
  }

  get port(): number {
    const address = this.http.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return address.port;
  }

  get sessions(): number {
    return this.table.size;
  }

  /** Places by state. */
  get places(): ReturnType<Allocations['counts']> {
    return this.allocations.counts(this.options.clock.now());
  }

  get ready(): boolean {
    return !this.draining && this.options.healthy();
  }

  /** From here on no new session is taken, and those there are told to go elsewhere. */
  beginDrain(reason: string): void {
    this.draining = true;
    this.allocations.drain();
    for (const connection of this.table.all()) connection.drain(reason);
  }

  /** Ids of the sessions that are connected. */
  get connected(): string[] {
    return this.table.all().map(({ session }) => session.claims.sub);
  }

  /** Cuts sessions off that the control plane has ended; no token of theirs opens anything any more. */
  endSessions(sessions: readonly string[]): void {
    for (const session of sessions) {
      this.options.ledger.epochs.end(session);
      this.table.end(session);
    }
  }

  /**
   * Waits until the robots have gone, for `graceMs` at most and then until nothing is being computed
   * for another `graceMs` at most; closes what is left with 1012, spread over `jitterMs`, so that
   * they do not all reconnect at once.
   */
  async close(graceMs: number, jitterMs: number): Promise<void> {
    const patience = this.options.clock.now() + graceMs;
    const waitWhile = async (busy: () => boolean, until: number) => {
      while (busy() && this.options.clock.now() < until) await sleep(10);
    };
    await waitWhile(() => this.table.size > 0, patience);
    await Promise.all(
      this.table.all().map(async (connection) => {
        await sleep(Math.random() * jitterMs);
        await waitWhile(() => connection.session.busy, patience + graceMs);
        connection.close(1012, 'the worker restarts');
      }),
    );
    await waitWhile(() => this.table.size > 0, this.options.clock.now() + 1_000);
    for (const connection of this.table.all()) connection.terminate();
    clearInterval(this.pings);
    this.http.closeAllConnections();
    await new Promise<void>((resolve) => this.http.close(() => resolve()));
  }

  /** Never rejects: a connection that cannot be made is refused, and keeps nothing. */
  private async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const drop = () => socket.destroy();
    socket.on('error', drop);
    let robot: Caller | undefined;
    try {
      this.assertOpen();
      robot = await this.welcome(request);
      this.assertOpen();
      this.table.assertCurrent(robot.claims);
      this.allocations.assertPlace(robot.claims, this.options.clock.now());
      if (this.connect(robot, request, socket, head)) socket.off('error', drop);
      else robot.leave();
    } catch (error) {
      robot?.leave();
      const known = error instanceof ArmatureError ? error : unexpected(error);
      const requestId = randomUUID();
      this.options.metrics.upgradesRefused.inc({ code: known.code });
      this.options.log.info({ requestId, code: known.code, err: known.cause }, 'upgrade refused');
      refuseUpgrade(socket, known, requestId);
    }
  }

  /**
   * Makes a WebSocket of an upgrade, and gives it its place. With a handshake that is none, or a client
   * that has gone, `ws` deals by itself and never calls back; else it does before it returns.
   * @returns whether there is a connection
   */
  private connect(robot: Caller, request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    const made: LiveConnection[] = [];
    this.sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const place = this.allocations.take(robot.claims, this.options.clock.now());
      const connection = robot.connect(webSocket, () => {
        this.table.remove(connection);
        this.allocations.release(place);
      });
      made.push(connection);
      this.table.add(connection);
      // The connection has taken hold of its policy itself.
      this.letGo(robot.claims.sub);
    });
    return made.length > 0;
  }

  /**
   * Who asks to be let in, and the connection that it gets: `armature.v1` under its path, openpi's
   * dialect, which has neither path nor subprotocol, under any other.
   */
  private async welcome(request: IncomingMessage): Promise<Caller> {
    const { options } = this;
    const pathname = pathOf(request);
    if (pathname === ROBOT_PATH) {
      const token = await options.verify(credentials(request));
      return {
        claims: token.claims,
        connect: (socket, onEnd) => new Connection(socket, token, options, onEnd),
        leave: () => undefined,
      };
    }
    if (request.headers['sec-websocket-protocol'] !== undefined) {
      throw new ArmatureError('not_found', `there is no ${pathname} here`, {
        fix: `Connect to ${ROBOT_PATH}.`,
      });
    }
    const grant = await options.openpi.open(request.headers.authorization, pathname);
    return {
      claims: grant.token.claims,
      connect: (socket, onEnd) => new OpenpiConnection(socket, grant, options, onEnd),
      leave: () => grant.end?.(),
    };
  }

  private assertOpen(): void {
    if (!this.ready) {
      throw new ArmatureError('unavailable', 'this worker takes no new sessions', {
        fix: 'Resume the session through the control plane.',
      });
    }
  }

  /**
   * Keeps a place for the session of a token, and its policy with its graphs before the robot is there.
   */
  private async allocate(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { options } = this;
    this.assertOpen();
    const bearer = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const { claims } = await options.verify(bearer);
    this.table.assertCurrent(claims);
    const { fence } = this.allocations.reserve(claims, options.clock.now(), RESERVED_MS);
    const before = this.ahead.get(claims.sub);
    this.ahead.set(claims.sub, fetchAhead(claims, options));
    before?.();
    const expire = () => this.allocations.expire(options.clock.now());
    setTimeout(expire, RESERVED_MS + 1).unref();
    response.writeHead(201, { 'Content-Type': 'application/json' });
    const kept: WorkerAllocation = { fence, reserved_ms: RESERVED_MS };
    response.end(JSON.stringify(kept));
  }

  private letGo(session: string): void {
    this.ahead.get(session)?.();
    this.ahead.delete(session);
  }

  /** Never rejects. */
  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.route(request, response);
    } catch (error) {
      const known = error instanceof ArmatureError ? error : unexpected(error);
      const requestId = randomUUID();
      if (known.code === 'internal') {
        this.options.log.error({ requestId, err: known.cause }, 'a request failed');
      }
      refuseRequest(response, known, requestId);
    }
  }

  private async route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pathname = pathOf(request);
    if (pathname === ALLOCATIONS_PATH && request.method === 'POST') {
      await this.allocate(request, response);
    } else if (request.method !== 'GET') {
      response.writeHead(405, { Allow: 'GET' }).end();
    } else if (pathname === '/healthz') {
      const healthy = this.options.healthy();
      response.writeHead(healthy ? 200 : 503, { 'Content-Type': 'text/plain; charset=utf-8' });
      response.end(healthy ? 'OK\n' : 'an engine is stuck or has ended\n');
    } else if (pathname === '/readyz') {
      response.writeHead(this.ready ? 200 : 503, { 'Content-Type': 'text/plain; charset=utf-8' });
      response.end(this.ready ? 'ready\n' : 'not ready\n');
    } else if (pathname === METRICS_PATH && isLocal(request)) {
      await answerMetrics(this.options.metrics, response);
    } else if (pathname === ROBOT_PATH) {
      response.writeHead(426, { Upgrade: 'websocket', Connection: 'Upgrade' }).end();
    } else {
      response.writeHead(404).end();
    }
  }
}

function unexpected(cause: unknown): ArmatureError {
  return new ArmatureError('internal', 'the request could not be answered', { cause });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
