import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import { ROBOT_SUBPROTOCOL } from '../../contract/index.ts';
import { openSocket } from './socket.ts';

const servers: WebSocketServer[] = [];

afterEach(() => {
  vi.useRealTimers();
  for (const server of servers.splice(0)) {
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
});

/** A socket to a worker that answers pings or does not: the worker's end, and what the robot's is told. */
async function open(autoPong: boolean) {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    autoPong,
    handleProtocols: () => ROBOT_SUBPROTOCOL,
  });
  servers.push(server);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const closed = vi.fn();
  const message = vi.fn();
  await openSocket(
    { url: `ws://127.0.0.1:${port}`, token: 'token', timeoutMs: 10_000 },
    { message, close: closed },
  );
  const [worker] = await accepted;
  return { worker, closed, message };
}

describe('the heartbeat of a robot’s socket', () => {
  it('ends one whose worker gave no sign of life from one ping to the next', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { worker, closed } = await open(false);
    const pinged = once(worker, 'ping');
    vi.advanceTimersByTime(15_000);
    await pinged;
    expect(closed).not.toHaveBeenCalled();
    vi.advanceTimersByTime(15_000);
    await vi.waitFor(() => expect(closed).toHaveBeenCalledWith(1006, ''), { timeout: 20_000 });
  });

  it('keeps one whose worker gives a sign of life', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { worker, closed, message } = await open(true);
    for (let ping = 1; ping <= 4; ping += 1) {
      const pinged = once(worker, 'ping');
      vi.advanceTimersByTime(15_000);
      await pinged;
      worker.send(Uint8Array.of(ping));
      await vi.waitFor(() => expect(message).toHaveBeenCalledTimes(ping), { timeout: 20_000 });
    }
    expect(closed).not.toHaveBeenCalled();
  });
});
