import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import {
  announceUrl,
  type ArmatureError,
  encodeFrame,
  MAX_FRAME_BYTES,
  Ndarray,
  parseClientFrame,
  ROBOT_PATH,
  ROBOT_SUBPROTOCOL,
  type ClientFrame,
  type EmbodimentSpec,
  type ServerFrame,
  type SessionGrant,
  type WireChunk,
  type WireObservation,
} from '../../contract/index.ts';

/** One robot's socket as the fake worker sees it. */
export interface FakeRobot {
  readonly token: string;
  readonly epoch: number;
  readonly socket: WebSocket;
  readonly frames: ClientFrame[];
  send(frame: ServerFrame): void;
}

export interface FakeWorkerOptions {
  readonly spec: EmbodimentSpec;
  /** Ways of real-time chunking that the welcome offers; a worker that knows of none unless told. */
  readonly chunking?: string[];
  /** Answers an observation; `chunkFor` at once unless told. */
  onObservation?: (robot: FakeRobot, observation: WireObservation) => void;
  /** Before the welcome; the welcome at once unless told. */
  onConnect?: (robot: FakeRobot, welcome: () => void) => void;
  /** A refusal of the upgrade. */
  refuse?: (request: IncomingMessage) => ArmatureError | undefined;
}

/**
 * A worker that speaks armature.v1 over real sockets and does what a test tells it. Tokens are
 * `token-<epoch>`; every grant has the next epoch.
 */
export class FakeWorker {
  readonly options: FakeWorkerOptions;
  readonly robots: FakeRobot[] = [];
  epoch = 0;
  tokenLifetimeMs = 600_000;
  private readonly http = createServer((_, response) => response.writeHead(426).end());
  private readonly sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: () => ROBOT_SUBPROTOCOL,
    maxPayload: MAX_FRAME_BYTES,
    perMessageDeflate: false,
  });

  static async start(options: FakeWorkerOptions): Promise<FakeWorker> {
    const worker = new FakeWorker(options);
    await new Promise<void>((resolve) => worker.http.listen(0, '127.0.0.1', resolve));
    return worker;
  }

  private constructor(options: FakeWorkerOptions) {
    this.options = options;
    this.http.on('upgrade', (request, socket, head) => {
      const error = this.options.refuse?.(request);
      if (error !== undefined) {
        const body = JSON.stringify(error.toProblem('req_1'));
        socket.end(
          `HTTP/1.1 ${error.status} Refused\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
        );
        return;
      }
      this.sockets.handleUpgrade(request, socket, head, (ws) => this.accept(ws, request));
    });
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.http.address() as AddressInfo).port}${ROBOT_PATH}`;
  }

  /** The robot that connected last. */
  get robot(): FakeRobot {
    const robot = this.robots.at(-1);
    if (robot === undefined) throw new Error('no robot has connected');
    return robot;
  }

  grant(): SessionGrant {
    this.epoch += 1;
    return {
      session: {
        id: 'ses_1',
        robot: 'arm-1',
        embodiment_id: 'emb_1',
        policy_version_id: 'pv_1',
        epoch: this.epoch,
        created_at: new Date().toISOString(),
        ended_at: null,
      },
      url: this.url,
      announce_url: announceUrl(this.url),
      token: `token-${this.epoch}`,
      token_expires_at: new Date(Date.now() + this.tokenLifetimeMs).toISOString(),
      embodiment: this.options.spec,
    };
  }

  /** A chunk whose value at step s of joint a is `base + s + a / 10`. */
  chunk(robot: FakeRobot, seq: number, base = 0, change: Partial<WireChunk> = {}): WireChunk {
    const { horizon, action } = this.options.spec;
    const values = Float32Array.from(
      { length: horizon * action.length },
      (_, i) => base + Math.floor(i / action.length) + (i % action.length) / 10,
    );
    return {
      type: 'chunk',
      seq,
      chunk_id: `ses_1:${robot.epoch}:${seq}`,
      epoch: robot.epoch,
      actions: Ndarray.float32(values, [horizon, action.length]),
      reasoning: { id: 'rsn_1', text: 'reach for the cup', age_ms: 3 },
      policy_version: 'pv_1',
      stats_hash: 'stats',
      clamped: 0,
      timings: { decode_ms: 1, queue_ms: 0, infer_ms: 2, total_ms: 3, batch: 1 },
      ...change,
    };
  }

  async stop(): Promise<void> {
    for (const { socket } of this.robots) socket.terminate();
    this.sockets.close();
    await new Promise((resolve) => this.http.close(resolve));
  }

  private accept(socket: WebSocket, request: IncomingMessage): void {
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    const robot: FakeRobot = {
      token,
      epoch: Number(token.split('-')[1]),
      socket,
      frames: [],
      send: (frame) => socket.send(encodeFrame(frame)),
    };
    this.robots.push(robot);
    socket.on('message', (data: Buffer) => {
      const frame = parseClientFrame(new Uint8Array(data));
      robot.frames.push(frame);
      if (frame.type === 'bye') socket.close(1000, 'bye');
      if (frame.type !== 'observation') return;
      if (this.options.onObservation !== undefined) this.options.onObservation(robot, frame);
      else robot.send(this.chunk(robot, frame.seq));
    });
    const welcome = (): void =>
      robot.send({
        type: 'welcome',
        session_id: 'ses_1',
        epoch: robot.epoch,
        worker: 'worker-1',
        embodiment: this.options.spec,
        policy_version: 'pv_1',
        stats_hash: 'stats',
        preprocess_hash: 'pre',
        ...(this.options.chunking === undefined ? {} : { chunking: this.options.chunking }),
      });
    if (this.options.onConnect === undefined) welcome();
    else this.options.onConnect(robot, welcome);
  }
}
