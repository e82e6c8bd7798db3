/** Sockets and HTTP: upgrade, tokens, frames in and out. The model and the database are not known here. */
export { Gateway, type GatewayOptions } from './gateway.ts';
export { serveMetricsAt } from './metrics-server.ts';
export { OpenpiAccess } from './openpi/access.ts';
export { forWorker, tokenVerifier, type KeyAges, type TokenVerifier } from './session-token.ts';
