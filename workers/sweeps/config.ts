import { storeConfigFromEnv } from '@armature/storage';
import { z } from 'zod';
import { sealingKeys } from '../jobs/sealing-keys.ts';
import { readSettings } from '../jobs/settings.ts';

const schema = z.object({
  WORKER_ID: z.string().min(1),
  /** As the role armature_worker. */
  DATABASE_URL: z.string().min(1),
  /** As the API and the webhooks have them. */
  SEALING_KEYS: sealingKeys,
  POLL_MS: z.coerce.number().int().min(50).default(5_000),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

/** @throws ArmatureError `invalid_request` naming the variable. */
export function readConfig(env: Readonly<Record<string, string | undefined>> = process.env) {
  return { ...readSettings(schema, env), store: storeConfigFromEnv(env) };
}
