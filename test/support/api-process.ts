import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { PLATFORM_KEY, SEALING_KEYS } from './api.ts';

const MAIN = fileURLToPath(new URL('../../api/main.ts', import.meta.url));

/** The environment of API processes that share a database, a store and the keys. */
export function apiEnvironment(o: {
  databaseUrl: string;
  storeRoot: string;
  publicUrl: string;
}): Record<string, string> {
  const { privateKey } = generateKeyPairSync('ed25519');
  return {
    PATH: process.env['PATH'] ?? '',
    PUBLIC_URL: o.publicUrl,
    DATABASE_URL: o.databaseUrl,
    KEY_PEPPER: 'peppers the keys of this test file only',
    SEALING_KEYS,
    PLATFORM_KEY,
    SESSION_SIGNING_JWK: JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: 'test-1' }),
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

export interface ApiProcess {
  /** SIGTERM, and the exit code once it has ended. */
  stop(): Promise<number | null>;
}

/** Starts an API process on a port of loopback; it answers when this resolves. */
export async function startApiProcess(
  environment: Record<string, string>,
  port: number,
): Promise<ApiProcess> {
  const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', MAIN], {
    env: { ...environment, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  if (child.stdout === null) throw new Error('the process has no output');
  await Promise.race([
    once(child.stdout, 'data'),
    exit.then(() => {
      throw new Error('the API ended before it was ready');
    }),
  ]);
  return {
    stop: async () => {
      child.kill('SIGTERM');
      const [code] = (await exit) as [number | null];
      return code;
    },
  };
}
