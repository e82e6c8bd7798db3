import { abandonedUploads } from './abandoned-uploads.ts';
import { openUsage } from './close-usage.ts';
import { endedDeliveries } from './ended-deliveries.ts';
import { expiredAnswers } from './expired-answers.ts';
import { expiredInvitations } from './expired-invitations.ts';
import { idleSessions } from './idle-sessions.ts';
import { oldDeviations } from './old-deviations.ts';
import { orphanObjects } from './orphan-objects.ts';
import { quarantinedSets } from './quarantined-sets.ts';
import { resealSecrets } from './reseal-secrets.ts';
import { retiredVersions } from './retired-versions.ts';
import { spentCompute } from './spent-compute.ts';
import type { Sweep } from './sweep.ts';
import { uncarriedJobs } from './uncarried-jobs.ts';

/** Every sweep of the platform. */
export const sweeps: readonly Sweep[] = [
  spentCompute,
  uncarriedJobs,
  openUsage,
  idleSessions,
  abandonedUploads,
  quarantinedSets,
  retiredVersions,
  orphanObjects,
  oldDeviations,
  endedDeliveries,
  expiredInvitations,
  expiredAnswers,
  resealSecrets,
];
