import type { SessionClaims } from '@armature/sdk/contract';
import { assertCompatible } from '../policies/index.ts';
import type { SessionDeps } from './deps.ts';

/**
 * Loads the policy of a session that is about to connect and makes its graphs, so that its welcome waits
 * for nothing. What is loaded stays until the function that is returned is called.
 */
export function fetchAhead(
  claims: SessionClaims,
  deps: Pick<SessionDeps, 'policies' | 'warm' | 'log'>,
): () => void {
  const kept = { over: false, letGo: (): void => undefined };
  load(claims, deps).then(
    (letGo) => {
      if (kept.over) letGo();
      else kept.letGo = letGo;
    },
    (error: unknown) =>
      deps.log.info({ err: error, digest: claims.policy.digest }, 'nothing was fetched ahead'),
  );
  return () => {
    if (kept.over) return;
    kept.over = true;
    kept.letGo();
  };
}

async function load(
  { policy, tenant, embodiment, reasoning }: SessionClaims,
  { policies, warm }: Pick<SessionDeps, 'policies' | 'warm'>,
): Promise<() => void> {
  const { version_id: versionId, digest, prefix } = policy;
  const lease = await policies.acquire({ tenant, versionId, digest, prefix });
  try {
    assertCompatible(embodiment.spec, lease.policy.manifest);
    const leave = await warm.admit(lease.policy, reasoning);
    return () => {
      leave();
      lease.release();
    };
  } catch (error) {
    lease.release();
    throw error;
  }
}
