import { ArmatureError, MAX_FRAME_BYTES, ROBOT_SUBPROTOCOL } from '../../contract/index.ts';
import { errorFromAnswer } from '../answers.ts';
import { systemCode } from '../http.ts';

/** An open WebSocket, of Node's `ws` or of a browser. */
export interface RobotSocket {
  /** @returns false when the socket is closing and takes nothing. */
  send(frame: Uint8Array): boolean;
  /** Bytes that were sent and still wait to leave. */
  readonly unsent: number;
  close(code: number, reason: string): void;
}

export interface SocketEvents {
  readonly message: (frame: Uint8Array | string) => void;
  /** Once, when the open socket has gone, whoever closed it. */
  readonly close: (code: number, reason: string) => void;
}

export interface SocketTarget {
  readonly url: string;
  readonly token: string;
  readonly timeoutMs: number;
}

/**
 * Opens the socket to a worker. The token travels as `Authorization: Bearer`; a browser, which cannot
 * set headers, offers it as a second subprotocol.
 * @throws ArmatureError as the worker refused it, `unavailable`, `timeout`.
 */
export async function openSocket(target: SocketTarget, events: SocketEvents): Promise<RobotSocket> {
  return isNode() ? openNodeSocket(target, events) : openBrowserSocket(target, events);
}

function isNode(): boolean {
  return typeof process !== 'undefined' && typeof process.versions.node === 'string';
}

/** The worker is asked for a sign of life this often, ms. */
const PING_MS = 15_000;

async function openNodeSocket(target: SocketTarget, events: SocketEvents): Promise<RobotSocket> {
  const { WebSocket } = await import('ws');
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(target.url, [ROBOT_SUBPROTOCOL], {
      headers: { authorization: `Bearer ${target.token}` },
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: target.timeoutMs,
      followRedirects: false,
    });
    socket.binaryType = 'nodebuffer';
    let alive = true;
    const heartbeat = setInterval(() => {
      if (!alive) return socket.terminate();
      alive = false;
      if (socket.readyState === WebSocket.OPEN) socket.ping();
    }, PING_MS);
    heartbeat.unref();
    socket.on('pong', () => (alive = true));
    socket.on('message', (data, isBinary) => {
      alive = true;
      if (!Buffer.isBuffer(data)) return;
      events.message(
        isBinary
          ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
          : data.toString('utf8'),
      );
    });
    socket.on('unexpected-response', (_, response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size <= 64 << 10) chunks.push(chunk);
      });
      response.on('end', () => {
        reject(errorFromAnswer(response.statusCode ?? 0, Buffer.concat(chunks).toString('utf8')));
        socket.terminate();
      });
      response.on('error', (cause) => reject(unreachable(target.url, cause)));
    });
    socket.on('error', (cause) => {
      const late = /handshake has timed out/.test(cause.message);
      reject(late ? noAnswer(target) : unreachable(target.url, cause));
    });
    socket.on('open', () => {
      socket.on('close', (code, reason) => events.close(code, reason.toString('utf8')));
      resolve({
        send(frame) {
          if (socket.readyState !== WebSocket.OPEN) return false;
          socket.send(frame, { binary: true });
          return true;
        },
        get unsent() {
          return socket.bufferedAmount;
        },
        close: (code, reason) => socket.close(code, reason),
      });
    });
    socket.on('close', () => {
      clearInterval(heartbeat);
      reject(unreachable(target.url, undefined));
    });
  });
}

function openBrowserSocket(target: SocketTarget, events: SocketEvents): Promise<RobotSocket> {
  return new Promise((resolve, reject) => {
    const offered = [ROBOT_SUBPROTOCOL, `armature.token.${target.token}`];
    const socket = new WebSocket(target.url, offered);
    socket.binaryType = 'arraybuffer';
    const timer = setTimeout(() => {
      reject(noAnswer(target));
      socket.close();
    }, target.timeoutMs);
    socket.addEventListener('message', (event) => {
      const data: unknown = event.data;
      if (data instanceof ArrayBuffer) events.message(new Uint8Array(data));
      else if (typeof data === 'string') events.message(data);
    });
    socket.addEventListener('error', () => reject(unreachable(target.url, undefined)));
    socket.addEventListener('close', () => {
      clearTimeout(timer);
      reject(unreachable(target.url, undefined));
    });
    socket.addEventListener('open', () => {
      clearTimeout(timer);
      socket.addEventListener('close', (event) => events.close(event.code, event.reason));
      resolve({
        send(frame) {
          if (socket.readyState !== WebSocket.OPEN) return false;
          socket.send(frame);
          return true;
        },
        get unsent() {
          return socket.bufferedAmount;
        },
        close: (code, reason) => socket.close(code, reason),
      });
    });
  });
}

function unreachable(url: string, cause: unknown): ArmatureError {
  const code = systemCode(cause);
  return new ArmatureError(
    'unavailable',
    `the worker at ${url} cannot be reached${code === undefined ? '' : ` (${code})`}`,
    { field: 'url', fix: 'Connect again in a moment.', cause },
  );
}

function noAnswer(target: SocketTarget): ArmatureError {
  return new ArmatureError(
    'timeout',
    `the worker at ${target.url} did not answer within ${target.timeoutMs} ms`,
    { field: 'url', fix: 'Connect again in a moment.' },
  );
}
