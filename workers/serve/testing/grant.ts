import type { SessionClaims, SessionGrant } from '@armature/sdk/contract';
import type { TestWorker } from './worker.ts';

/** The session of these claims, as the control plane shows it. */
export function sessionOf(claims: SessionClaims, createdAt = new Date()): SessionGrant['session'] {
  return {
    id: claims.sub,
    robot: claims.robot,
    embodiment_id: claims.embodiment.id,
    policy_version_id: claims.policy.version_id,
    epoch: claims.epoch,
    created_at: createdAt.toISOString(),
    ended_at: null,
  };
}

/** What the control plane would hand to the robot of these claims, for this worker. */
export async function grantFor(worker: TestWorker, claims: SessionClaims): Promise<SessionGrant> {
  return {
    session: sessionOf(claims),
    url: `ws://127.0.0.1:${worker.port}/v1/robot`,
    announce_url: `http://127.0.0.1:${worker.port}/v1/allocations`,
    token: await worker.issuer.sign(claims),
    token_expires_at: new Date(Date.now() + 600_000).toISOString(),
    embodiment: claims.embodiment.spec,
  };
}
