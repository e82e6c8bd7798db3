import { cpus } from 'node:os';
import { ArmatureError } from '@armature/sdk/contract';
import type { VisionEndpoint } from '@armature/datasets';
import { storeConfigFromEnv, type StoreConfig } from '@armature/storage';
import { z } from 'zod';
import { readSettings } from '../jobs/settings.ts';

const whole = (least: number, otherwise: number): z.ZodType<number> =>
  z.coerce.number().int().min(least).default(otherwise);

const schema = z.object({
  WORKER_ID: z.string().min(1),
  DATABASE_URL: z.string().min(1),
  CACHE_DIR: z.string().min(1),
  /** Pictures of old jobs are removed above this. */
  CACHE_MAX_MB: whole(0, 20_000),
  ENGINE_THREADS: whole(1, cpus().length),
  EXECUTION_PROVIDER: z.enum(['cpu', 'webgpu', 'cuda']).default('cpu'),
  LEASE_MS: whole(1_000, 15_000),
  CHECKPOINT_EVERY_S: whole(1, 30),
  POLL_MS: whole(50, 1_000),
  /** Most fine-tunes of one tenant that run at once, on all workers together; no cap where not given. */
  TENANT_MAX_JOBS: z.coerce.number().int().min(1).optional(),
  VISION_ENDPOINT_URL: z.url().optional(),
  VISION_ENDPOINT_KEY: z.string().optional(),
  VISION_ENDPOINT_MODEL: z.string().optional(),
  /** What versions say they were trained by, in place of the digest of the sources. */
  BUILD_ID: z.string().max(120).optional(),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

export interface TrainConfig {
  readonly workerId: string;
  readonly databaseUrl: string;
  readonly store: StoreConfig;
  readonly cacheDir: string;
  readonly cacheMaxBytes: number;
  readonly engineThreads: number;
  readonly executionProvider: 'cpu' | 'webgpu' | 'cuda';
  readonly leaseMs: number;
  readonly checkpointEveryS: number;
  readonly pollMs: number;
  readonly tenantMaxJobs: number | undefined;
  /** null: labels by a vision endpoint are refused. */
  readonly vision: VisionEndpoint | null;
  /** null: the digest of the sources. */
  readonly buildId: string | null;
  readonly logLevel: string;
}

/** @throws ArmatureError invalid_request naming the variable. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): TrainConfig {
  const values = readSettings(schema, env);
  return {
    workerId: values.WORKER_ID,
    databaseUrl: values.DATABASE_URL,
    store: storeConfigFromEnv(env),
    cacheDir: values.CACHE_DIR,
    cacheMaxBytes: values.CACHE_MAX_MB * 1e6,
    engineThreads: values.ENGINE_THREADS,
    executionProvider: values.EXECUTION_PROVIDER,
    leaseMs: values.LEASE_MS,
    checkpointEveryS: values.CHECKPOINT_EVERY_S,
    pollMs: values.POLL_MS,
    tenantMaxJobs: values.TENANT_MAX_JOBS,
    vision: visionOf(values),
    buildId: values.BUILD_ID ?? null,
    logLevel: values.LOG_LEVEL,
  };
}

function visionOf(values: z.infer<typeof schema>): VisionEndpoint | null {
  const url = values.VISION_ENDPOINT_URL;
  if (url === undefined) return null;
  const model = values.VISION_ENDPOINT_MODEL;
  if (model === undefined) {
    throw new ArmatureError('invalid_request', 'VISION_ENDPOINT_MODEL is not set', {
      field: 'VISION_ENDPOINT_MODEL',
      fix: 'Name the model of the vision endpoint, or unset VISION_ENDPOINT_URL.',
    });
  }
  // Endpoints on the own network often want no key; the client library wants a string.
  return { url, key: values.VISION_ENDPOINT_KEY ?? 'none', model };
}
