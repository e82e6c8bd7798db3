import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ArmatureError } from '@armature/sdk/contract';

/** Refuses an upgrade with problem details, and ends the connection. */
export function refuseUpgrade(socket: Duplex, error: ArmatureError, requestId: string): void {
  const body = JSON.stringify(error.toProblem(requestId));
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
