import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PlatformFolder } from './folder.ts';
import type { Ports } from './ports.ts';
import type { Secrets } from './secrets.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const HOST = '127.0.0.1';

/**
 * What the gateway's old space may come to before V8 marks all of it. Left to itself V8 does so every few
 * seconds while robots ask, and their chunks wait for it.
 */
const GATEWAY_HEAP = '--initial-old-space-size=128';

export type ProcessName = 'api' | 'serve' | 'train' | 'ingest' | 'webhooks' | 'sweeps';

export interface ProcessPlan {
  readonly name: ProcessName;
  readonly entry: string;
  readonly env: Readonly<Record<string, string>>;
  /** For Node itself. */
  readonly flags: readonly string[];
}

export interface PlanInput {
  readonly folder: PlatformFolder;
  readonly ports: Ports;
  readonly secrets: Secrets;
  /** What openpi clients that show no key get on this machine. */
  readonly openpi: { readonly key: string; readonly embodimentId: string } | undefined;
  readonly databaseUrls: { readonly app: string; readonly worker: string };
  /** What every process gets beside its own, e.g. PATH, LOG_LEVEL, ENGINE_THREADS. */
  readonly common: Readonly<Record<string, string>>;
}

export const apiUrlOf = (ports: Ports): string => `http://${HOST}:${ports.api}`;
export const gatewayAddress = (ports: Ports): { host: string; port: number } => ({
  host: HOST,
  port: ports.gateway,
});
export const gatewayUrlOf = (ports: Ports): string => `ws://${HOST}:${ports.gateway}`;

/** The platform's processes with the environment of each: no process is told more than it needs. */
export function planProcesses(input: PlanInput): Record<ProcessName, ProcessPlan> {
  const { folder, ports, secrets, databaseUrls } = input;
  const apiUrl = apiUrlOf(ports);
  const common = {
    ...input.common,
    HOST,
    STORE_KIND: 'disk',
    STORE_ROOT: folder.objects,
    STORE_PUBLIC_URL: apiUrl,
    STORE_SECRET: secrets.store_secret,
  };
  const worker = (name: ProcessName): Record<string, string> => ({
    ...common,
    WORKER_ID: `${name}-1`,
    DATABASE_URL: databaseUrls.worker,
  });
  const plan = (
    name: ProcessName,
    entry: string,
    env: Readonly<Record<string, string>>,
    flags: readonly string[] = [],
  ): ProcessPlan => ({ name, entry: path.join(ROOT, entry), env, flags });
  return {
    api: plan('api', 'api/main.ts', {
      ...common,
      PORT: String(ports.api),
      PUBLIC_URL: apiUrl,
      DATABASE_URL: databaseUrls.app,
      KEY_PEPPER: secrets.key_pepper,
      SEALING_KEYS: secrets.sealing_keys,
      SESSION_SIGNING_JWK: JSON.stringify(secrets.session_signing_jwk),
      PLATFORM_KEY: secrets.platform_key,
      AUTH_SECRET: secrets.auth_secret,
      // One machine has no mail server: links that people would be sent stand in the API's log.
      MAIL_KIND: 'log',
      // A browser on it may name it so.
      AUTH_ORIGINS: `http://localhost:${ports.api}`,
    }),
    serve: plan(
      'serve',
      'workers/serve/main.ts',
      {
        ...worker('serve'),
        PORT: String(ports.gateway),
        PUBLIC_URL: gatewayUrlOf(ports),
        JWKS_URL: `${apiUrl}/.well-known/jwks.json`,
        SPOOL_DIR: folder.spool,
        // One machine trains and serves: robots that come while it trains wait longer, none is refused.
        ADMISSION_FILL: '4',
        OPENPI_API_URL: apiUrl,
        ...(input.openpi === undefined
          ? {}
          : { OPENPI_KEY: input.openpi.key, OPENPI_EMBODIMENT: input.openpi.embodimentId }),
      },
      [GATEWAY_HEAP],
    ),
    train: plan('train', 'workers/train/main.ts', {
      ...worker('train'),
      CACHE_DIR: folder.cache,
    }),
    ingest: plan('ingest', 'workers/ingest/main.ts', {
      ...worker('ingest'),
      CACHE_DIR: folder.cache,
    }),
    webhooks: plan('webhooks', 'workers/webhooks/main.ts', {
      ...worker('webhooks'),
      SEALING_KEYS: secrets.sealing_keys,
      // One machine's platform may tell a program beside it.
      WEBHOOK_ALLOW_LOOPBACK: 'true',
    }),
    sweeps: plan('sweeps', 'workers/sweeps/main.ts', {
      ...worker('sweeps'),
      SEALING_KEYS: secrets.sealing_keys,
    }),
  };
}
