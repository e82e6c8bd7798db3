import { Armature } from '@armature/sdk';
import type { Platform } from '../platform/index.ts';

/** A new tenant of the platform, and a client with its first key. */
export async function newTenant(
  platform: Platform,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly client: Armature; readonly key: string; readonly id: string }> {
  const { apiUrl, platformKey } = platform;
  const operator = new Armature({ apiUrl, apiKey: platformKey });
  const { tenant, secret } = await operator.tenants.create({ name }, { signal });
  return { client: new Armature({ apiUrl, apiKey: secret }), key: secret, id: tenant.id };
}
