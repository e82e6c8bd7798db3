import { createHash } from 'node:crypto';
import type { embodiments } from '@armature/db';

type EmbodimentRow = Pick<
  typeof embodiments.$inferSelect,
  'activePolicyVersionId' | 'canaryPolicyVersionId' | 'canaryShare'
>;

/** Whether the canary or the deployed version is a new session's; null where none is deployed. */
export function versionFor(embodiment: EmbodimentRow, sessionId: string): string | null {
  const { activePolicyVersionId, canaryPolicyVersionId, canaryShare } = embodiment;
  if (canaryPolicyVersionId === null || canaryShare === null) return activePolicyVersionId;
  return drawOf(sessionId) < canaryShare ? canaryPolicyVersionId : activePolicyVersionId;
}

/** A number in [0, 1) that a session's id always gives again. */
function drawOf(sessionId: string): number {
  return createHash('sha256').update(sessionId).digest().readUIntBE(0, 6) / 2 ** 48;
}
