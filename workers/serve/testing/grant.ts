import type { SessionClaims, SessionGrant } from '@armature/sdk/contract';
import type { TestWorker } from './worker.ts';

/** What the control plane would hand to the robot of these claims, for this worker. */
export async function grantFor(worker: TestWorker, claims: SessionClaims): Promise<SessionGrant> {
  return {
    session: {
      id: claims.sub,
      robot: claims.robot,
      embodiment_id: claims.embodiment.id,
      policy_version_id: claims.policy.version_id,
      epoch: claims.epoch,
      created_at: new Date().toISOString(),
      ended_at: null,
    },
    url: `ws://127.0.0.1:${worker.port}/v1/robot`,
    announce_url: `http://127.0.0.1:${worker.port}/v1/allocations`,
    token: await worker.issuer.sign(claims),
    token_expires_at: new Date(Date.now() + 600_000).toISOString(),
    embodiment: claims.embodiment.spec,
  };
}
