import { ArmatureError, type ErrorCode, type SessionClaims } from '@armature/sdk/contract';
import type { FaultEntry } from '../ledger/index.ts';
import type { SessionDeps } from './deps.ts';

/** Refusals of a version itself, whichever worker and robot it is for. */
const OF_THE_VERSION: readonly ErrorCode[] = [
  'incompatible_policy',
  'checksum_mismatch',
  'embodiment_mismatch',
  'not_found',
];

/** Puts on record what a session's policy version does wrong; a canary is rolled back by it. */
export class PolicyFaults {
  private readonly claims: SessionClaims;
  private readonly deps: Pick<SessionDeps, 'clock' | 'ledger' | 'log'>;

  constructor(claims: SessionClaims, deps: Pick<SessionDeps, 'clock' | 'ledger' | 'log'>) {
    this.claims = claims;
    this.deps = deps;
  }

  /**
   * A chunk that may not leave.
   * @param actions as the policy gave them.
   */
  chunk(chunkId: string, actions: Float32Array, error: unknown): void {
    if (!(error instanceof ArmatureError)) return;
    this.record(chunkId, actions.every(Number.isFinite) ? 'refused' : 'not_finite', error.message);
  }

  /** A version that this session could not get ready; a failure of this worker's is none of its. */
  load(error: unknown): void {
    if (!(error instanceof ArmatureError) || !OF_THE_VERSION.includes(error.code)) return;
    const { sub, epoch } = this.claims;
    this.record(`${sub}:${epoch}:load`, 'load_failed', error.message);
  }

  private record(id: string, fault: FaultEntry['fault'], message: string): void {
    const { sub, tenant, policy } = this.claims;
    const entry: FaultEntry = {
      kind: 'fault',
      id,
      tenant_id: tenant,
      session_id: sub,
      policy_version_id: policy.version_id,
      fault,
      message,
      at: new Date(this.deps.clock.wall()).toISOString(),
    };
    // The robot is answered whether or not it is on record.
    this.deps.ledger.append([entry]).catch((err: unknown) => {
      this.deps.log.error({ err, id }, 'a fault could not be recorded');
    });
  }
}
