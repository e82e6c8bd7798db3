import type { IncomingMessage } from 'node:http';
import { ArmatureError, ROBOT_SUBPROTOCOL } from '@armature/sdk/contract';

/** A browser cannot set headers on a WebSocket: there the token is offered as a subprotocol. */
const TOKEN_SUBPROTOCOL = 'armature.token.';

/**
 * The token and dialect of an upgrade request: `Authorization: Bearer …`, or the subprotocol
 * `armature.token.…` beside `armature.v1`.
 * @throws ArmatureError `missing_token`, or `invalid_request` for an unknown dialect.
 */
export function credentials(request: IncomingMessage): string {
  const offered = (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((protocol) => protocol.trim());
  if (!offered.includes(ROBOT_SUBPROTOCOL)) {
    throw new ArmatureError('invalid_request', 'the dialect is not spoken here', {
      field: 'Sec-WebSocket-Protocol',
      fix: `Offer the subprotocol ${ROBOT_SUBPROTOCOL}.`,
    });
  }
  const bearer = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const inProtocol = offered
    .find((protocol) => protocol.startsWith(TOKEN_SUBPROTOCOL))
    ?.slice(TOKEN_SUBPROTOCOL.length);
  const token = bearer ?? inProtocol;
  if (token === undefined || token === '') {
    throw new ArmatureError('missing_token', 'the request carries no session token', {
      field: 'Authorization',
      fix: 'Send the token of sessions.create as Authorization: Bearer.',
    });
  }
  return token;
}
