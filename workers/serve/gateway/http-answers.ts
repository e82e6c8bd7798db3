import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { ArmatureError } from '@armature/sdk/contract';

/**
 * The path that a request asks for, without its query.
 * @throws ArmatureError `invalid_request` for a target that is no URL, as `//`.
 */
export function pathOf({ url }: IncomingMessage): string {
  const target = url ?? '/';
  if (URL.canParse(target, 'http://worker')) return new URL(target, 'http://worker').pathname;
  throw new ArmatureError('invalid_request', 'the target of the request is not a URL', {
    field: 'path',
    fix: 'Ask for a path, such as /readyz.',
  });
}

/** Refuses a request with problem details; one whose answer has begun is cut off. */
export function refuseRequest(
  response: ServerResponse,
  error: ArmatureError,
  requestId: string,
): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(error.status, { 'Content-Type': 'application/problem+json' });
  response.end(JSON.stringify(error.toProblem(requestId)));
}

/** Refuses an upgrade with problem details, and ends the connection, whether or not the client does. */
export function refuseUpgrade(socket: Duplex, error: ArmatureError, requestId: string): void {
  const body = JSON.stringify(error.toProblem(requestId));
  socket.once('finish', () => socket.destroy());
  socket.end(
    [
      `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? 'Error'}`,
      'Content-Type: application/problem+json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      ...(error.status === 401 ? ['WWW-Authenticate: Bearer'] : []),
      ...(error.status === 503 ? ['Retry-After: 1'] : []),
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}
