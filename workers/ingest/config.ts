import { ArmatureError } from '@armature/sdk/contract';
import { storeConfigFromEnv, type StoreConfig } from '@armature/storage';
import { z } from 'zod';

const whole = (least: number, otherwise: number): z.ZodType<number> =>
  z.coerce.number().int().min(least).default(otherwise);

const schema = z.object({
  WORKER_ID: z.string().min(1),
  /** As the role armature_worker. */
  DATABASE_URL: z.string().min(1),
  /** Folder for files that are being checked; this worker's part of it is emptied at start. */
  CACHE_DIR: z.string().min(1),
  /** Episodes decoded at a time. */
  DECODE_LANES: whole(1, 2),
  LEASE_MS: whole(1_000, 15_000),
  POLL_MS: whole(50, 1_000),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

export interface IngestConfig {
  readonly workerId: string;
  readonly databaseUrl: string;
  readonly store: StoreConfig;
  readonly cacheDir: string;
  readonly lanes: number;
  readonly leaseMs: number;
  readonly pollMs: number;
  readonly logLevel: string;
}

/** @throws ArmatureError `invalid_request` naming the variable. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): IngestConfig {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = schema.safeParse(set);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = String(issue?.path[0] ?? 'environment');
    throw new ArmatureError('invalid_request', `${field}: ${issue?.message ?? 'is wrong'}`, {
      field,
      fix: `Set ${field} in the environment.`,
    });
  }
  return {
    workerId: parsed.data.WORKER_ID,
    databaseUrl: parsed.data.DATABASE_URL,
    store: storeConfigFromEnv(env),
    cacheDir: parsed.data.CACHE_DIR,
    lanes: parsed.data.DECODE_LANES,
    leaseMs: parsed.data.LEASE_MS,
    pollMs: parsed.data.POLL_MS,
    logLevel: parsed.data.LOG_LEVEL,
  };
}
