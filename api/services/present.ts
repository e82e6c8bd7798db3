import type {
  apiKeys,
  datasets,
  embodiments,
  finetunes,
  invitations,
  jobEvents,
  members,
  policyVersions,
  sessions,
  tenants,
  webhookDeliveries,
  webhookEndpoints,
} from '@armature/db';
import {
  datasetReportSchema,
  embodimentSpecSchema,
  evaluationSchema,
  finetuneEstimateSchema,
  finetuneModeSchema,
  finetuneOptionsSchema,
  finetuneSchema,
  finetuneStatusSchema,
  policyVersionSchema,
  samplerSchema,
  scopeSchema,
  trainSummarySchema,
  webhookDeliverySchema,
  webhookEventSchema,
  type Dataset,
  type Embodiment,
  type Finetune,
  type Invitation,
  type JobEvent,
  type Key,
  type KeyLimits,
  type Member,
  type PolicyVersion,
  type Session,
  type Tenant,
  type Webhook,
  type WebhookDelivery,
} from '@armature/sdk/contract';

/** Rows as the contract shows them; `jsonb` is parsed on the way, so that a stale shape is found. */

const iso = (date: Date): string => date.toISOString();
const isoOrNull = (date: Date | null): string | null => (date === null ? null : iso(date));

export function presentTenant(row: typeof tenants.$inferSelect): Tenant {
  return {
    id: row.id,
    name: row.name,
    time_zone: row.timeZone,
    created_at: iso(row.createdAt),
  };
}

export function presentKey(row: typeof apiKeys.$inferSelect, limits: KeyLimits): Key {
  return {
    id: row.id,
    name: row.name,
    start: row.start,
    scopes: row.scopes.map((scope) => scopeSchema.parse(scope)),
    member_id: row.memberId,
    limits,
    created_at: iso(row.createdAt),
    expires_at: isoOrNull(row.expiresAt),
    last_used_at: isoOrNull(row.lastUsedAt),
    revoked_at: isoOrNull(row.revokedAt),
  };
}

export function presentMember(row: typeof members.$inferSelect): Member {
  return {
    id: row.id,
    email: row.email,
    role: row.role,
    created_at: iso(row.createdAt),
    removed_at: isoOrNull(row.removedAt),
    person_id: row.personId,
  };
}

export function presentInvitation(row: typeof invitations.$inferSelect): Invitation {
  return {
    id: row.id,
    email: row.email,
    role: row.role,
    invited_by: row.invitedBy,
    created_at: iso(row.createdAt),
    expires_at: iso(row.expiresAt),
    revoked_at: isoOrNull(row.revokedAt),
    accepted_at: isoOrNull(row.acceptedAt),
    member_id: row.memberId,
  };
}

export function presentEmbodiment(row: typeof embodiments.$inferSelect): Embodiment {
  return {
    id: row.id,
    spec: embodimentSpecSchema.parse(row.spec),
    active_policy_version_id: row.activePolicyVersionId,
    canary:
      row.canaryPolicyVersionId === null || row.canaryShare === null || row.canarySince === null
        ? null
        : {
            policy_version_id: row.canaryPolicyVersionId,
            share: row.canaryShare,
            since: iso(row.canarySince),
          },
    created_at: iso(row.createdAt),
  };
}

export function presentDataset(row: typeof datasets.$inferSelect): Dataset {
  return {
    id: row.id,
    name: row.name,
    embodiment_id: row.embodimentId,
    status: row.status,
    files: row.files,
    bytes: row.bytes,
    progress: row.progress,
    report: datasetReportSchema.nullable().parse(row.report),
    quarantined_until: isoOrNull(row.quarantinedUntil),
    deleted_at: isoOrNull(row.deletedAt),
    ...(row.excludedEpisodes.length === 0 ? {} : { without_episodes: row.excludedEpisodes }),
    created_at: iso(row.createdAt),
  };
}

export function presentFinetune(row: typeof finetunes.$inferSelect, attempt: number): Finetune {
  return {
    id: row.id,
    name: row.name,
    embodiment_id: row.embodimentId,
    dataset_id: row.datasetId,
    added_dataset_ids: row.addedDatasetIds,
    heldout_dataset_id: row.heldoutDatasetId,
    options: finetuneOptionsSchema.parse(row.options),
    status: finetuneStatusSchema.parse(row.status),
    attempt,
    progress: row.progress,
    error: finetuneSchema.shape.error.parse(row.error),
    estimate: finetuneEstimateSchema.nullable().parse(row.estimate),
    checkpoint: row.checkpoint === null ? null : { step: row.checkpoint.step },
    eta_at: isoOrNull(row.etaAt),
    train: trainSummarySchema.nullable().parse(row.train),
    evaluation: evaluationSchema.nullable().parse(row.evaluation),
    policy_version_id: row.policyVersionId,
    created_at: iso(row.createdAt),
    finished_at: isoOrNull(row.finishedAt),
  };
}

export function presentJobEvent(row: typeof jobEvents.$inferSelect): JobEvent {
  const { seq, kind, message, data } = row;
  return { seq, at: iso(row.at), kind, message, data };
}

export function presentPolicyVersion(
  row: typeof policyVersions.$inferSelect,
  active: boolean,
): PolicyVersion {
  return {
    id: row.id,
    name: row.name,
    embodiment_id: row.embodimentId,
    finetune_id: row.finetuneId,
    digest: row.digest,
    stats_hash: row.statsHash,
    preprocess_hash: row.preprocessHash,
    mode: finetuneModeSchema.parse(row.mode),
    data: policyVersionSchema.shape.data.parse(row.data),
    code: policyVersionSchema.shape.code.parse(row.code),
    scores: presentScores(row),
    sampler: samplerSchema.parse(row.sampler),
    prefix_delay_max: row.prefixDelayMax,
    bytes: row.bytes,
    active,
    retired_at: isoOrNull(row.retiredAt),
    created_at: iso(row.createdAt),
  };
}

function presentScores(row: typeof policyVersions.$inferSelect): PolicyVersion['scores'] {
  const { heldout, simulated } = policyVersionSchema.shape.scores.shape;
  const noneHeldOut =
    row.data === null ? 'made before scores were recorded' : 'no data set was held out';
  return {
    heldout: heldout.parse({
      score: row.heldout,
      reason: row.heldout === null ? noneHeldOut : null,
    }),
    simulated: simulated.parse({
      score: row.simulated,
      reason: row.simulated === null ? 'no score of a simulator was recorded' : null,
    }),
  };
}

export function presentSession(row: typeof sessions.$inferSelect): Session {
  return {
    id: row.id,
    robot: row.robot,
    embodiment_id: row.embodimentId,
    policy_version_id: row.policyVersionId,
    epoch: row.epoch,
    created_at: iso(row.createdAt),
    ended_at: isoOrNull(row.endedAt),
  };
}

/** Without its secrets. */
export function presentWebhook(row: typeof webhookEndpoints.$inferSelect): Webhook {
  return {
    id: row.id,
    url: row.url,
    events: row.events.map((event) => webhookEventSchema.parse(event)),
    enabled: row.enabled,
    created_at: iso(row.createdAt),
  };
}

export function presentWebhookDelivery(
  row: typeof webhookDeliveries.$inferSelect,
): WebhookDelivery {
  return {
    id: row.id,
    webhook_id: row.endpointId,
    event: webhookDeliverySchema.shape.event.parse(row.event),
    payload: webhookDeliverySchema.shape.payload.parse(row.payload),
    status: row.status,
    attempts: row.attempts,
    answer_status: row.answerStatus,
    error: row.error,
    created_at: iso(row.createdAt),
    ended_at: isoOrNull(row.endedAt),
  };
}
