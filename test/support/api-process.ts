import { generateKeyPairSync } from 'node:crypto';
import { createServer, type AddressInfo } from 'node:net';
import { startNodeProcess, type NodeProcess } from './node-process.ts';
import { AUTH_SECRET, KEY_PEPPER, PLATFORM_KEY, SEALING_KEYS, STORE_SECRET } from './secrets.ts';

/** The environment of API processes that share a database, a store and the keys. */
export function apiEnvironment(o: {
  databaseUrl: string;
  storeRoot: string;
  publicUrl: string;
}): Record<string, string> {
  const { privateKey } = generateKeyPairSync('ed25519');
  return {
    PUBLIC_URL: o.publicUrl,
    DATABASE_URL: o.databaseUrl,
    KEY_PEPPER,
    SEALING_KEYS,
    PLATFORM_KEY,
    SESSION_SIGNING_JWK: JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'test-1' }),
    AUTH_SECRET,
    MAIL_KIND: 'none',
    STORE_KIND: 'disk',
    STORE_ROOT: o.storeRoot,
    STORE_PUBLIC_URL: o.publicUrl,
    STORE_SECRET,
    LOG_LEVEL: 'error',
  };
}

/** A port of loopback that nothing listens at. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts an API process on a port of loopback; it answers when this resolves. */
export function startApiProcess(
  environment: Record<string, string>,
  port: number,
): Promise<NodeProcess> {
  return startNodeProcess('api/main.ts', { ...environment, PORT: String(port) });
}
