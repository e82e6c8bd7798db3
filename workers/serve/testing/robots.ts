import {
  encodeFrame,
  Ndarray,
  parseServerFrame,
  ROBOT_PATH,
  ROBOT_SUBPROTOCOL,
  type EmbodimentSpec,
  type ServerFrame,
  type SessionClaims,
  type WireObservation,
} from '@armature/sdk/contract';
import sharp from 'sharp';
import { WebSocket } from 'ws';

/** Id of a test's only worker. */
export const TEST_WORKER = 'serve-test';

export function armSpec(over: Partial<EmbodimentSpec> = {}): EmbodimentSpec {
  return {
    name: 'arm',
    control_hz: 20,
    horizon: 8,
    state: [
      { name: 'shoulder', unit: 'rad' },
      { name: 'elbow', unit: 'rad' },
    ],
    action: [
      { name: 'shoulder', unit: 'rad', group: 'arm', min: -3, max: 3 },
      { name: 'elbow', unit: 'rad', group: 'arm', min: -3, max: 3 },
    ],
    references: { arm: 'state' },
    cameras: [{ name: 'front', kind: 'external', width: 64, height: 48 }],
    on_violation: 'clamp',
    when_starved: 'hold',
    ...over,
  };
}

/** An arm with two cameras of the size that policies are commonly shown. */
export function loadSpec(): EmbodimentSpec {
  const size = { width: 224, height: 224 };
  return armSpec({
    name: 'two-camera arm',
    cameras: [
      { name: 'front', kind: 'external', ...size },
      { name: 'hand', kind: 'wrist', ...size },
    ],
  });
}

export function claimsFor(over: Partial<SessionClaims> = {}): SessionClaims {
  const tenant = over.tenant ?? 'ten_a';
  const digest = over.policy?.digest ?? 'none';
  return {
    sub: 'ses_1',
    tenant,
    robot: 'robot-1',
    worker: TEST_WORKER,
    embodiment: { id: 'emb_1', spec: armSpec() },
    policy: { version_id: 'pv_1', digest, prefix: `tenants/${tenant}/policies/${digest}/` },
    reasoning: { when: 'every_chunk' },
    epoch: 1,
    limits: { max_in_flight: 2, max_hz: 200 },
    ...over,
  };
}

type Bytes = Uint8Array<ArrayBuffer>;

export async function jpegOf(width = 64, height = 48, shade = 120): Promise<Bytes> {
  const pixels = new Uint8Array(width * height * 3).fill(shade);
  const raw = { width, height, channels: 3 } as const;
  return new Uint8Array(await sharp(pixels, { raw }).jpeg().toBuffer());
}

/** A picture of noise: as much to decode as a picture of that size can hold. */
export async function noiseJpeg(width: number, height: number): Promise<Bytes> {
  let state = 1;
  const pixels = Uint8Array.from({ length: width * height * 3 }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
  const raw = { width, height, channels: 3 } as const;
  return new Uint8Array(await sharp(pixels, { raw }).jpeg({ quality: 90 }).toBuffer());
}

export function observation(
  seq: number,
  jpeg: Bytes,
  over: Partial<WireObservation> = {},
): WireObservation {
  return {
    type: 'observation',
    seq,
    captured_at: Date.now(),
    images: { front: { jpeg } },
    state: Ndarray.float32(Float32Array.of(0.5, -0.5)),
    instruction: 'lift the cup',
    ...over,
  };
}

type Frame<T extends ServerFrame['type']> = Extract<ServerFrame, { type: T }>;

/** A robot's end of a socket: frames in the order they came, and waiting for the next of a kind. */
export class TestRobot {
  readonly frames: ServerFrame[] = [];
  readonly socket: WebSocket;
  readonly closed: Promise<{ code: number; reason: string }>;
  private waiting: (() => void)[] = [];
  private taken = 0;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer) => {
      this.frames.push(parseServerFrame(data));
      this.wake();
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() });
        this.wake();
      });
    });
  }

  /** Opens a socket; rejects with `code` of the problem details, or the bare error. */
  static open(port: number, token: string, how: 'header' | 'protocol' = 'header') {
    const url = `ws://127.0.0.1:${port}${ROBOT_PATH}`;
    const socket =
      how === 'header'
        ? new WebSocket(url, ROBOT_SUBPROTOCOL, { headers: { authorization: `Bearer ${token}` } })
        : new WebSocket(url, [ROBOT_SUBPROTOCOL, `armature.token.${token}`]);
    return new Promise<TestRobot>((resolve, reject) => {
      const robot = new TestRobot(socket);
      socket.on('open', () => resolve(robot));
      socket.on('error', reject);
      socket.on('unexpected-response', (_, response) => {
        let body = '';
        response.on('data', (data: Buffer) => (body += data.toString()));
        response.on('end', () => {
          // Node's own refusals, as of a request that took too long, say nothing more.
          const { code } = (body === '' ? {} : JSON.parse(body)) as { code?: string };
          reject(Object.assign(new Error(body), { code, status: response.statusCode }));
        });
      });
    });
  }

  /** Opens a socket and waits for the welcome. */
  static async ready(port: number, token: string): Promise<TestRobot> {
    const robot = await TestRobot.open(port, token);
    await robot.next('welcome');
    return robot;
  }

  send(frame: unknown): void {
    this.socket.send(encodeFrame(frame));
  }

  /** The next frame of this type that has not been taken; earlier ones of others are passed over. */
  async next<T extends ServerFrame['type']>(type: T, withinMs = 5000): Promise<Frame<T>> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      for (; this.taken < this.frames.length; this.taken += 1) {
        const frame = this.frames[this.taken];
        if (frame?.type === type) {
          this.taken += 1;
          return frame as Frame<T>;
        }
      }
      const left = deadline - performance.now();
      if (left <= 0 || this.socket.readyState === WebSocket.CLOSED) {
        throw new Error(
          `no ${type}; came: ${this.frames.map((f) => (f.type === 'error' ? f.message : f.type)).join(', ')}`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.waiting.push(() => (clearTimeout(timer), resolve()));
      });
    }
  }

  /** The answer to one observation: its chunk or its error. */
  async answer(seq: number, withinMs = 5000): Promise<Frame<'chunk'> | Frame<'error'>> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const found = this.frames.find(
        (f): f is Frame<'chunk'> | Frame<'error'> =>
          (f.type === 'chunk' || f.type === 'error') && f.seq === seq,
      );
      if (found !== undefined) return found;
      if (performance.now() > deadline) throw new Error(`no answer to ${seq}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  close(): void {
    this.socket.close();
  }

  private wake(): void {
    this.waiting.splice(0).forEach((wake) => wake());
  }
}
