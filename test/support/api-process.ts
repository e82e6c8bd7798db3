import { generateKeyPairSync } from 'node:crypto';
import { createServer, type AddressInfo } from 'node:net';
import { PLATFORM_KEY, SEALING_KEYS } from './api.ts';
import { startNodeProcess, type NodeProcess } from './node-process.ts';

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
    KEY_PEPPER: 'peppers the keys of this test file only',
    SEALING_KEYS,
    PLATFORM_KEY,
    SESSION_SIGNING_JWK: JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'test-1' }),
    AUTH_SECRET: 'signs the cookies of this test file only',
    MAIL_KIND: 'none',
    STORE_KIND: 'disk',
    STORE_ROOT: o.storeRoot,
    STORE_PUBLIC_URL: o.publicUrl,
    STORE_SECRET: 'signs the uploads of this test file only',
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
