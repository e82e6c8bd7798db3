import type { RouteName } from '@armature/sdk/contract';
import { getAccount } from './account-get.ts';
import { joinTenant } from './account-join.ts';
import { listAudit } from './audit-list.ts';
import type { Service } from './context.ts';
import { acceptDataset } from './datasets-accept.ts';
import { listDatasetEpisodes } from './datasets-episodes.ts';
import { completeDataset } from './datasets-complete.ts';
import { createDataset } from './datasets-create.ts';
import { deleteDataset } from './datasets-delete.ts';
import { getDataset } from './datasets-get.ts';
import { listDatasets } from './datasets-list.ts';
import { planDataset } from './datasets-plan.ts';
import { createEmbodiment } from './embodiments-create.ts';
import { getEmbodiment } from './embodiments-get.ts';
import { listEmbodiments } from './embodiments-list.ts';
import { cancelFinetune } from './finetunes-cancel.ts';
import { createFinetune } from './finetunes-create.ts';
import { pauseFinetune } from './finetunes-pause.ts';
import { resumeFinetune } from './finetunes-resume.ts';
import { retryFinetune } from './finetunes-retry.ts';
import { startFinetune } from './finetunes-start.ts';
import { estimateFinetune } from './finetunes-estimate.ts';
import { listFinetuneEvents } from './finetunes-events.ts';
import { listFinetuneCheckpoints } from './finetunes-checkpoints.ts';
import { listFinetuneMetrics } from './finetunes-metrics.ts';
import { getFinetune } from './finetunes-get.ts';
import { listFinetunes } from './finetunes-list.ts';
import { acceptInvitation } from './invitations-accept.ts';
import { createInvitation } from './invitations-create.ts';
import { listInvitations } from './invitations-list.ts';
import { revokeInvitation } from './invitations-revoke.ts';
import { createKey } from './keys-create.ts';
import { listKeys } from './keys-list.ts';
import { revokeKey } from './keys-revoke.ts';
import { limitKey } from './keys-limit.ts';
import { rotateKey } from './keys-rotate.ts';
import { changeMember } from './members-change.ts';
import { listMembers } from './members-list.ts';
import { removeMember } from './members-remove.ts';
import { canaryPolicy } from './policies-canary.ts';
import { deployPolicy } from './policies-deploy.ts';
import { listPolicyFiles } from './policies-files.ts';
import { getPolicy } from './policies-get.ts';
import { listPolicies } from './policies-list.ts';
import { retirePolicy } from './policies-retire.ts';
import { scorePolicy } from './policies-score.ts';
import { listPrices } from './prices-list.ts';
import { listReasoning } from './reasoning-list.ts';
import { createSession } from './sessions-create.ts';
import { endSession } from './sessions-end.ts';
import { getSession } from './sessions-get.ts';
import { listSessions } from './sessions-list.ts';
import { resumeSession } from './sessions-resume.ts';
import { createTenant } from './tenants-create.ts';
import { currentTenant } from './tenants-current.ts';
import { limitTenant } from './tenants-limit.ts';
import { updateTenant } from './tenants-update.ts';
import { getUsage } from './usage-get.ts';
import { listUsageLines } from './usage-lines.ts';
import { createWebhook } from './webhooks-create.ts';
import { listWebhooks } from './webhooks-list.ts';
import { getWebhook } from './webhooks-get.ts';
import { updateWebhook } from './webhooks-update.ts';
import { deleteWebhook } from './webhooks-delete.ts';
import { rotateWebhook } from './webhooks-rotate.ts';
import { testWebhook } from './webhooks-test.ts';
import { listWebhookDeliveries } from './webhooks-deliveries.ts';
import { replayWebhook } from './webhooks-replay.ts';

/** One function a verb of the contract; REST and tRPC both come through here. */
export const services: { readonly [N in RouteName]: Service<N> } = {
  'tenants.create': createTenant,
  'tenants.limit': limitTenant,
  'tenants.current': currentTenant,
  'tenants.update': updateTenant,
  'keys.create': createKey,
  'keys.list': listKeys,
  'keys.revoke': revokeKey,
  'keys.limit': limitKey,
  'keys.rotate': rotateKey,
  'members.list': listMembers,
  'members.change': changeMember,
  'members.remove': removeMember,
  'invitations.create': createInvitation,
  'invitations.list': listInvitations,
  'invitations.revoke': revokeInvitation,
  'invitations.accept': acceptInvitation,
  'account.get': getAccount,
  'account.join': joinTenant,
  'audit.list': listAudit,
  'embodiments.create': createEmbodiment,
  'embodiments.list': listEmbodiments,
  'embodiments.get': getEmbodiment,
  'datasets.create': createDataset,
  'datasets.plan': planDataset,
  'datasets.complete': completeDataset,
  'datasets.accept': acceptDataset,
  'datasets.delete': deleteDataset,
  'datasets.episodes': listDatasetEpisodes,
  'datasets.list': listDatasets,
  'datasets.get': getDataset,
  'finetunes.create': createFinetune,
  'finetunes.start': startFinetune,
  'finetunes.estimate': estimateFinetune,
  'finetunes.list': listFinetunes,
  'finetunes.get': getFinetune,
  'finetunes.cancel': cancelFinetune,
  'finetunes.pause': pauseFinetune,
  'finetunes.resume': resumeFinetune,
  'finetunes.retry': retryFinetune,
  'finetunes.events': listFinetuneEvents,
  'finetunes.metrics': listFinetuneMetrics,
  'finetunes.checkpoints': listFinetuneCheckpoints,
  'policies.list': listPolicies,
  'policies.get': getPolicy,
  'policies.files': listPolicyFiles,
  'policies.deploy': deployPolicy,
  'policies.canary': canaryPolicy,
  'policies.score': scorePolicy,
  'policies.retire': retirePolicy,
  'sessions.create': createSession,
  'sessions.resume': resumeSession,
  'sessions.end': endSession,
  'sessions.list': listSessions,
  'sessions.get': getSession,
  'webhooks.create': createWebhook,
  'webhooks.list': listWebhooks,
  'webhooks.get': getWebhook,
  'webhooks.update': updateWebhook,
  'webhooks.delete': deleteWebhook,
  'webhooks.rotate': rotateWebhook,
  'webhooks.test': testWebhook,
  'webhooks.deliveries': listWebhookDeliveries,
  'webhooks.replay': replayWebhook,
  'usage.get': getUsage,
  'usage.lines': listUsageLines,
  'prices.list': listPrices,
  'reasoning.list': listReasoning,
};
