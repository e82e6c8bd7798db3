import { storeConfigFromEnv, type StoreConfig } from '@armature/storage';
import { z } from 'zod';
import { readSettings } from '../jobs/settings.ts';

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
  /** Resident memory that the check of one set may take, MiB; a set that takes more is refused. */
  CHECK_MEMORY_MIB: whole(256, 1_536),
  LEASE_MS: whole(1_000, 15_000),
  POLL_MS: whole(50, 1_000),
  /** Most data sets of one tenant that are checked at once, on all workers together; no cap where not given. */
  TENANT_MAX_JOBS: z.coerce.number().int().min(1).optional(),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

export interface IngestConfig {
  readonly workerId: string;
  readonly databaseUrl: string;
  readonly store: StoreConfig;
  readonly cacheDir: string;
  readonly lanes: number;
  readonly memoryMib: number;
  readonly leaseMs: number;
  readonly pollMs: number;
  readonly tenantMaxJobs: number | undefined;
  readonly logLevel: string;
}

/** @throws ArmatureError `invalid_request` naming the variable. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): IngestConfig {
  const values = readSettings(schema, env);
  return {
    workerId: values.WORKER_ID,
    databaseUrl: values.DATABASE_URL,
    store: storeConfigFromEnv(env),
    cacheDir: values.CACHE_DIR,
    lanes: values.DECODE_LANES,
    memoryMib: values.CHECK_MEMORY_MIB,
    leaseMs: values.LEASE_MS,
    pollMs: values.POLL_MS,
    tenantMaxJobs: values.TENANT_MAX_JOBS,
    logLevel: values.LOG_LEVEL,
  };
}
