import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RoundRobin {
  url: string;
  /** Requests that each port has answered. */
  answered: Map<number, number>;
  /** Sends nothing more to a port, which is about to be stopped, until it is back. */
  leave(port: number): void;
  back(port: number): void;
  close(): Promise<void>;
}

/**
 * A load balancer of the plainest kind: each request to the next port, and to the one after it
 * where nothing listens.
 */
export async function startRoundRobin(
  ports: readonly number[],
  /** Whom each request seems to come from; said to nobody when absent. */
  client?: () => string,
): Promise<RoundRobin> {
  const answered = new Map<number, number>(ports.map((port) => [port, 0]));
  const left = new Set<number>();
  let turn = 0;
  const forward = async (from: IncomingMessage, to: ServerResponse): Promise<void> => {
    turn += 1;
    const first = turn;
    for (let i = 0; i < ports.length; i += 1) {
      const port = ports[(first + i) % ports.length] ?? 0;
      if (left.has(port)) continue;
      const answer = await send(from, to, port, client?.());
      if (answer === null) continue;
      answered.set(port, (answered.get(port) ?? 0) + 1);
      to.writeHead(answer.statusCode ?? 502, answer.headers);
      // The head of a stream does not wait for the first of its body.
      to.flushHeaders();
      answer.pipe(to);
      return;
    }
    to.writeHead(502).end();
  };
  const server = createServer((from, to) => {
    forward(from, to).catch(() => to.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    answered,
    leave: (port) => void left.add(port),
    back: (port) => void left.delete(port),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The answer, or null where nothing listens; given up once the caller is gone. */
function send(
  from: IncomingMessage,
  back: ServerResponse,
  port: number,
  client: string | undefined,
): Promise<IncomingMessage | null> {
  return new Promise((resolve, reject) => {
    const { method } = from;
    const headers = {
      ...from.headers,
      ...(client === undefined ? {} : { 'x-forwarded-for': client }),
    };
    const to = request({ port, host: '127.0.0.1', method, path: from.url, headers, agent: false });
    back.once('close', () => to.destroy());
    to.once('socket', (socket) => socket.once('connect', () => from.pipe(to)));
    to.once('response', resolve);
    to.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') return resolve(null);
      // An answer may come before all of the body was read.
      from.unpipe(to);
      from.resume();
      return reject(error);
    });
  });
}
