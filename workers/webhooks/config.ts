import { ArmatureError } from '@armature/sdk/contract';
import { z } from 'zod';

const whole = (least: number, otherwise: number): z.ZodType<number> =>
  z.coerce.number().int().min(least).default(otherwise);

const schema = z.object({
  WORKER_ID: z.string().min(1),
  /** As the role armature_worker. */
  DATABASE_URL: z.string().min(1),
  /** Development alone: http, and receivers on this machine. */
  WEBHOOK_ALLOW_LOOPBACK: z.enum(['true', 'false']).default('false'),
  /** Messages on their way at a time. */
  WEBHOOK_LANES: whole(1, 4),
  WEBHOOK_TIMEOUT_MS: whole(100, 10_000),
  LEASE_MS: whole(1_000, 15_000),
  POLL_MS: whole(50, 1_000),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
});
export type WebhooksConfig = z.infer<typeof schema>;

/** @throws ArmatureError `invalid_request` naming the variable. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): WebhooksConfig {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = schema.safeParse(set);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = String(issue?.path[0] ?? 'environment');
  throw new ArmatureError('invalid_request', `${field}: ${issue?.message ?? 'is wrong'}`, {
    field,
    fix: `Set ${field} in the environment.`,
  });
}
