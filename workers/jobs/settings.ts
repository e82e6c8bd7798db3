import { ArmatureError } from '@armature/sdk/contract';
import type { z } from 'zod';

/**
 * Settings of a process by its schema; one that is empty counts as absent.
 * @throws ArmatureError `invalid_request` naming the variable.
 */
export function readSettings<T>(
  schema: z.ZodType<T>,
  env: Readonly<Record<string, string | undefined>>,
): T {
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
