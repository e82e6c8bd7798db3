import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A connection whose bytes are the test's own. Errors of it are those of a peer that is cut off. */
export async function rawSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** Sends bytes and resolves with all that comes back, once the other end has closed. */
export async function exchange(port: number, sent: string | Uint8Array): Promise<string> {
  const socket = await rawSocket(port);
  let said = '';
  socket.on('data', (data: Buffer) => (said += data.toString('latin1')));
  socket.end(sent);
  if (!socket.closed) await once(socket, 'close');
  return said;
}

/** The head of an upgrade request as a client sends it, with header lines changed or left out. */
export function upgradeHead(
  path: string,
  over: Readonly<Record<string, string | undefined>> = {},
): string {
  const headers: Readonly<Record<string, string | undefined>> = {
    Host: 'worker',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...over,
  };
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  );
  return [`GET ${path} HTTP/1.1`, ...lines, '', ''].join('\r\n');
}
