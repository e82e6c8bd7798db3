import { availableParallelism } from 'node:os';
import { ArmatureError } from '@armature/sdk/contract';
import { storeConfigFromEnv, type StoreConfig } from '@armature/storage';
import { z } from 'zod';
import { KEY_AGES } from './gateway/session-token.ts';

const count = (least: number, most: number) => z.coerce.number().int().min(least).max(most);

const envSchema = z.object({
  /** Address and port to listen on; port 0 takes a free one. */
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: count(0, 65_535),
  /** Address and port of the metrics for other machines; without a port only this one's are answered, on PORT. */
  METRICS_HOST: z.string().min(1).default('127.0.0.1'),
  METRICS_PORT: count(1, 65_535).optional(),
  /** Where robots reach this worker, ws:// or wss://, without the path. */
  PUBLIC_URL: z.url({ protocol: /^wss?$/ }),
  WORKER_ID: z.string().min(1).max(64),
  /** As the role armature_worker. */
  DATABASE_URL: z.string().min(1),
  JWKS_URL: z.url({ protocol: /^https?$/ }),
  /** How long its keys are believed, and the least time between two fetches for a key that is not there; s. */
  JWKS_CACHE_S: z.coerce.number().min(1).max(3_600).default(KEY_AGES.cacheS),
  JWKS_COOLDOWN_S: z.coerce.number().min(0.1).max(300).default(KEY_AGES.cooldownS),
  /** Control plane that turns the key of an openpi client into a session; tokens alone without it. */
  OPENPI_API_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** Embodiment of openpi clients whose path names none. */
  OPENPI_EMBODIMENT: z.string().min(1).optional(),
  /** Key of openpi clients that show none; for a machine of one's own only. */
  OPENPI_KEY: z.string().min(1).optional(),
  /** Folder of the metering spool, on a disk that outlives the process; one process at a time. */
  SPOOL_DIR: z.string().min(1),
  /** What the spool may hold, while the database is away, before no new session is taken; MiB. */
  SPOOL_MAX_MB: count(1, 1_048_576).default(1_024),
  /** Threads of the engine. */
  ENGINE_THREADS: count(1, 256).default(availableParallelism()),
  /** Threads of a second engine that renews reasonings beside the chunks; 0 leaves that to the first. */
  REASON_THREADS: count(0, 256).default(1),
  /** Whether robots may ask for guidance through the network: twice as many graphs to build and hold. */
  GUIDANCE_PULLED_BACK: z.enum(['on', 'off']).default('off'),
  EXECUTION_PROVIDER: z.enum(['cpu', 'webgpu', 'cuda']).default('cpu'),
  /** Threads that decode and pre-process pictures. */
  IMAGE_THREADS: count(1, 64).default(2),
  /** Policy versions held at once, at most the slots of the model's banks. */
  POLICY_SLOTS: count(1, 1024).default(64),
  /** Most rows a run. */
  MAX_BATCH: count(1, 256).default(32),
  /** Rows of one tenant that may run at once, on all engines together; MAX_BATCH where not given. */
  TENANT_MAX_IN_FLIGHT: count(1, 4096).optional(),
  /** Share of the engines that sessions may need by what runs cost; over 1 promises more than there is. */
  ADMISSION_FILL: z.coerce.number().positive().max(100).default(0.9),
  /** Resident memory from which on the process drains and ends, to be started afresh; MiB. */
  MEMORY_BUDGET_MB: count(256, 1_048_576).optional(),
  MAX_SESSIONS: count(1, 100_000).default(512),
  /** After SIGTERM robots have this long to leave by themselves. */
  DRAIN_GRACE_MS: count(0, 600_000).default(2_000),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

/** Names of the variables that are read, but for those of the object store. */
export const SETTINGS: readonly string[] = Object.keys(envSchema.shape);

export type ServeConfig = z.infer<typeof envSchema> & { readonly store: StoreConfig };

/**
 * The settings of a serve worker.
 * @throws ArmatureError `invalid_request` naming the variable.
 */
export function loadConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): ServeConfig {
  const parsed = envSchema.safeParse(env);
  if (parsed.success) return { ...parsed.data, store: storeConfigFromEnv(env) };
  const issue = parsed.error.issues[0];
  const name = String(issue?.path[0] ?? 'the environment');
  throw new ArmatureError('invalid_request', `${name}: ${issue?.message ?? 'is not valid'}`, {
    field: name,
    fix: `Set ${name} in the environment.`,
    cause: parsed.error,
  });
}
