import { z } from 'zod';
import { sealingKeys } from '../jobs/sealing-keys.ts';
import { readSettings } from '../jobs/settings.ts';

const whole = (least: number, otherwise: number): z.ZodType<number> =>
  z.coerce.number().int().min(least).default(otherwise);

const schema = z.object({
  WORKER_ID: z.string().min(1),
  /** As the role armature_worker. */
  DATABASE_URL: z.string().min(1),
  /** `id:key` pairs: the first seals, the others open what was sealed before. */
  SEALING_KEYS: sealingKeys,
  /** Development alone: http, and receivers on this machine. */
  WEBHOOK_ALLOW_LOOPBACK: z.enum(['true', 'false']).default('false'),
  /** Messages on their way at a time. */
  WEBHOOK_LANES: whole(1, 4),
  /** Longest wait for a receiver, ms; well below the time in which the queue takes a worker for lost. */
  WEBHOOK_TIMEOUT_MS: z.coerce.number().int().min(100).max(30_000).default(10_000),
  POLL_MS: whole(50, 1_000),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});

/** @throws ArmatureError `invalid_request` naming the variable. */
export function readConfig(env: Readonly<Record<string, string | undefined>> = process.env) {
  return readSettings(schema, env);
}
