import * as z from 'zod';
import { embodimentSpecSchema } from './embodiment.ts';
import { datasetEpisodeSchema } from './episodes.ts';
import { problemSchema } from './errors.ts';
import { keyLimitNameSchema, keyLimitsSchema, limitNameSchema } from './limits.ts';
import {
  accountSchema,
  emailSchema,
  invitationSchema,
  memberSchema,
  personSchema,
  roleSchema,
} from './people.ts';
import { simulatedScoreSchema } from './provenance.ts';
import {
  auditLineSchema,
  checkpointSchema,
  datasetFileSchema,
  datasetSchema,
  embodimentSchema,
  finetuneEstimateSchema,
  finetuneOptionsSchema,
  finetuneSchema,
  jobEventSchema,
  keySchema,
  metricNameSchema,
  metricPointSchema,
  policyFilesSchema,
  policyVersionSchema,
  priceSheetSchema,
  reasoningRecordSchema,
  scopeSchema,
  sessionGrantSchema,
  sessionOptionsSchema,
  sessionSchema,
  tenantSchema,
  uploadPlanSchema,
  usageLineSchema,
  usageSchema,
  webhookDeliverySchema,
  webhookEventSchema,
  webhookSchema,
} from './resources.ts';

/** Greatest number of an episode, a step or an event. */
const MAX_NUMBER = 2 ** 31 - 1;
const name = z.string().min(1).max(120);
const byId = z.strictObject({ id: z.string() });
const pageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  /** `next_cursor` of the page before. */
  cursor: z.string().min(1).optional(),
});
const page = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), next_cursor: z.string().nullable() });
const empty = z.strictObject({});
const finetuneInput = z.strictObject({
  dataset_id: z.string(),
  /** More sets of the same embodiment, which it trains on together with the first, in this order. */
  added_dataset_ids: z.array(z.string()).max(15).default([]),
  heldout_dataset_id: z.string().optional(),
  options: finetuneOptionsSchema,
});
const overlap = z
  .number()
  .int()
  .min(0)
  .max(30 * 86_400)
  .default(86_400);
/** Of a receiver: https, or http on the machine itself, which only a development setting reaches. */
/** Kept as browsers would write it. */
const receiver = z
  .url({ normalize: true })
  .max(2000)
  .regex(
    /^(https:\/\/|http:\/\/(localhost|127\.0\.0\.1)[:/])[^@]*$/,
    'must be an https address without a password',
  );
const events = z.array(webhookEventSchema).min(1).max(50);
const withSecret = z.object({ webhook: webhookSchema, /** Shown once. */ secret: z.string() });
const period = { from: z.iso.datetime().optional(), to: z.iso.datetime().optional() };

/** Random ids of requests, by which one that is sent again gets the first answer: printable ASCII. */
export const IDEMPOTENCY_KEY = /^[\x21-\x7e]{8,200}$/;

/**
 * The control plane's verbs: one entry each, from which the REST routes, the tRPC procedures and
 * the SDK's client are made. `input` holds path, query and body fields together; path fields are
 * the `:names` in `path`, and what remains travels as the query (GET, DELETE) or the JSON body.
 * `scope` is what a key or a person's role needs; `platform` is the operator's own key, `invitation` an
 * invitation that stands in a key's place, and `person` somebody who is signed in, whatever the tenant.
 */
export const routes = {
  'tenants.create': verb(
    'POST',
    '/v1/tenants',
    'platform',
    z.strictObject({ name }),
    z.object({
      tenant: tenantSchema,
      key: keySchema,
      /** The key's secret, shown once. */
      secret: z.string(),
    }),
  ),
  /** Grants a tenant a limit of its own, or takes it back. */
  'tenants.limit': verb(
    'POST',
    '/v1/tenants/:id/limits',
    'platform',
    z.strictObject({
      id: z.string().min(1),
      name: limitNameSchema,
      /** `null` puts the default in its place again. */
      value: z.number().nonnegative().nullable(),
    }),
    z.object({ name: limitNameSchema, value: z.number().nullable() }),
  ),
  'tenants.current': verb('GET', '/v1/tenant', 'read', empty, tenantSchema),
  'tenants.update': verb(
    'POST',
    '/v1/tenant',
    'admin',
    z.strictObject({ name: name.optional(), time_zone: z.string().min(1).max(64).optional() }),
    tenantSchema,
  ),

  'keys.create': verb(
    'POST',
    '/v1/keys',
    'admin',
    z.strictObject({
      name,
      scopes: z.array(scopeSchema).min(1),
      expires_at: z.iso.datetime().optional(),
      limits: keyLimitsSchema.default({}),
    }),
    z.object({ key: keySchema, secret: z.string() }),
  ),
  'keys.list': verb('GET', '/v1/keys', 'admin', pageQuery, page(keySchema)),
  'keys.revoke': verb('DELETE', '/v1/keys/:id', 'admin', byId, keySchema),
  /** Gives a key a quota of its own, or takes it back. */
  'keys.limit': verb(
    'POST',
    '/v1/keys/:id/limits',
    'admin',
    z.strictObject({
      id: z.string(),
      name: keyLimitNameSchema,
      /** `null`: no other than the tenant's. */
      value: z.number().nonnegative().nullable(),
    }),
    keySchema,
  ),
  /** A new key of the same name, scopes and quotas; the old one works for `overlap_s` more seconds. */
  'keys.rotate': verb(
    'POST',
    '/v1/keys/:id/rotate',
    'admin',
    z.strictObject({ id: z.string(), overlap_s: overlap }),
    z.object({ key: keySchema, secret: z.string(), old: keySchema }),
  ),

  /** People of the tenant, newest first; those who were removed too. */
  'members.list': verb('GET', '/v1/members', 'admin', pageQuery, page(memberSchema)),
  /** Gives a person another role; the person's keys follow. */
  'members.change': verb(
    'POST',
    '/v1/members/:id',
    'admin',
    z.strictObject({ id: z.string(), role: roleSchema }),
    memberSchema,
  ),
  /** Ends a person's part in the tenant, and the person's keys. */
  'members.remove': verb('DELETE', '/v1/members/:id', 'admin', byId, memberSchema),

  /** Invites a person; an earlier invitation of the same address that is open is taken back. */
  'invitations.create': verb(
    'POST',
    '/v1/invitations',
    'admin',
    z.strictObject({
      email: emailSchema,
      role: roleSchema,
      expires_in_s: z
        .number()
        .int()
        .min(60)
        .max(30 * 86_400)
        .default(7 * 86_400),
    }),
    z.object({
      invitation: invitationSchema,
      /** What the person accepts with, shown once. */
      secret: z.string(),
    }),
  ),
  'invitations.list': verb('GET', '/v1/invitations', 'admin', pageQuery, page(invitationSchema)),
  'invitations.revoke': verb('DELETE', '/v1/invitations/:id', 'admin', byId, invitationSchema),
  /** Makes the invited person a member, with a key of the person's own. */
  'invitations.accept': verb(
    'POST',
    '/v1/invitations/accept',
    'invitation',
    empty,
    z.object({ member: memberSchema, key: keySchema, secret: z.string() }),
  ),

  /** Who is signed in. */
  'account.get': verb('GET', '/v1/account', 'person', empty, accountSchema),
  /**
   * Makes the person who is signed in a member by an invitation of the person's own address, which
   * must be verified; with a key where one is asked for.
   */
  'account.join': verb(
    'POST',
    '/v1/account/memberships',
    'person',
    z.strictObject({
      /** The invitation's secret. */
      invitation: z.string().min(1).max(200),
      with_key: z.boolean().default(false),
    }),
    z.object({
      member: memberSchema,
      key: keySchema.nullable(),
      /** The key's secret, shown once. */
      secret: z.string().nullable(),
    }),
  ),

  /** What was done in the tenant, newest first. */
  'audit.list': verb(
    'GET',
    '/v1/audit',
    'admin',
    pageQuery.extend({ /** Id of what was changed. */ subject: z.string().optional() }),
    page(auditLineSchema),
  ),

  'embodiments.create': verb(
    'POST',
    '/v1/embodiments',
    'write',
    z.strictObject({ spec: embodimentSpecSchema }),
    embodimentSchema,
  ),
  'embodiments.list': verb('GET', '/v1/embodiments', 'read', pageQuery, page(embodimentSchema)),
  'embodiments.get': verb('GET', '/v1/embodiments/:id', 'read', byId, embodimentSchema),

  'datasets.create': verb(
    'POST',
    '/v1/datasets',
    'write',
    z.strictObject({
      name,
      embodiment_id: z.string(),
      files: z.array(datasetFileSchema).min(1).max(20_000),
    }),
    uploadPlanSchema,
  ),
  'datasets.plan': verb('GET', '/v1/datasets/:id/upload', 'write', byId, uploadPlanSchema),
  'datasets.complete': verb('POST', '/v1/datasets/:id/complete', 'write', byId, datasetSchema),
  /** Validates a rejected set again without some of its episodes. */
  'datasets.accept': verb(
    'POST',
    '/v1/datasets/:id/accept',
    'write',
    z.strictObject({
      id: z.string(),
      without_episodes: z.array(z.number().int().min(0).max(MAX_NUMBER)).min(1).max(10_000),
    }),
    datasetSchema,
  ),
  /** Takes its files away; refused while a fine-tune that has not ended uses it. */
  'datasets.delete': verb('DELETE', '/v1/datasets/:id', 'write', byId, datasetSchema),
  'datasets.list': verb('GET', '/v1/datasets', 'read', pageQuery, page(datasetSchema)),
  'datasets.get': verb('GET', '/v1/datasets/:id', 'read', byId, datasetSchema),
  /** Episodes of a validated set with their statistics and a few pictures, by number. */
  'datasets.episodes': verb(
    'GET',
    '/v1/datasets/:id/episodes',
    'read',
    z.strictObject({ id: z.string(), page: z.coerce.number().int().min(0).default(0) }),
    z.object({
      items: z.array(datasetEpisodeSchema),
      /** Null on the last page. */
      next_page: z.number().int().nullable(),
      /** Until when the URLs are good. */
      expires_at: z.iso.datetime(),
    }),
  ),

  'finetunes.create': verb(
    'POST',
    '/v1/finetunes',
    'write',
    finetuneInput.extend({
      name,
      /** False leaves it a draft, which `finetunes.start` starts. */
      start: z.boolean().default(true),
    }),
    finetuneSchema,
  ),
  /** Starts a draft: it is queued, or waits until its sets are validated. */
  'finetunes.start': verb('POST', '/v1/finetunes/:id/start', 'write', byId, finetuneSchema),
  /** What a fine-tune would take and cost; refused as its creation would be. */
  'finetunes.estimate': verb(
    'POST',
    '/v1/finetunes/estimate',
    'write',
    finetuneInput,
    finetuneEstimateSchema,
  ),
  'finetunes.list': verb('GET', '/v1/finetunes', 'read', pageQuery, page(finetuneSchema)),
  'finetunes.get': verb('GET', '/v1/finetunes/:id', 'read', byId, finetuneSchema),
  'finetunes.cancel': verb('POST', '/v1/finetunes/:id/cancel', 'write', byId, finetuneSchema),
  /** Sets a job aside, with a checkpoint where it has trained, until it is resumed. */
  'finetunes.pause': verb('POST', '/v1/finetunes/:id/pause', 'write', byId, finetuneSchema),
  'finetunes.resume': verb('POST', '/v1/finetunes/:id/resume', 'write', byId, finetuneSchema),
  /** Queues a job again that has failed, or ended in `user_error`; from its last checkpoint where it has one. */
  'finetunes.retry': verb('POST', '/v1/finetunes/:id/retry', 'write', byId, finetuneSchema),
  'finetunes.events': verb(
    'GET',
    '/v1/finetunes/:id/events',
    'read',
    z.strictObject({
      id: z.string(),
      /** Events with a greater `seq`. */
      after: z.coerce.number().int().min(0).max(MAX_NUMBER).default(0),
      limit: z.coerce.number().int().min(1).max(1000).default(500),
    }),
    z.object({ items: z.array(jobEventSchema) }),
  ),
  /** One figure of the training as a series, in order, thinned to one point for `every` steps. */
  'finetunes.metrics': verb(
    'GET',
    '/v1/finetunes/:id/metrics',
    'read',
    z.strictObject({
      id: z.string(),
      name: metricNameSchema.default('loss'),
      every: z.coerce.number().int().min(1).max(100_000).default(1),
      /** Points of later steps: `next_after` of the page before. */
      after: z.coerce.number().int().min(0).max(MAX_NUMBER).default(0),
      limit: z.coerce.number().int().min(1).max(1000).default(500),
    }),
    z.object({ items: z.array(metricPointSchema), next_after: z.number().int().nullable() }),
  ),
  /** The checkpoints that are durable: what a job that goes on goes on from. */
  'finetunes.checkpoints': verb(
    'GET',
    '/v1/finetunes/:id/checkpoints',
    'read',
    byId,
    z.object({ items: z.array(checkpointSchema) }),
  ),

  'policies.list': verb('GET', '/v1/policies', 'read', pageQuery, page(policyVersionSchema)),
  'policies.get': verb('GET', '/v1/policies/:id', 'read', byId, policyVersionSchema),
  /** Where to read the version's files from: its manifest and its weights. */
  'policies.files': verb('GET', '/v1/policies/:id/files', 'read', byId, policyFilesSchema),
  /** Makes a version the one that new sessions of its embodiment get. */
  'policies.deploy': verb('POST', '/v1/policies/:id/deploy', 'write', byId, policyVersionSchema),
  /** Gives a version to a share of new sessions, beside the deployed one; 0 ends that. */
  'policies.canary': verb(
    'POST',
    '/v1/policies/:id/canary',
    'write',
    z.strictObject({ id: z.string(), share: z.number().min(0).lt(1) }),
    embodimentSchema,
  ),
  /** Records what a version scored in a simulator, in place of an earlier score. */
  'policies.score': verb(
    'POST',
    '/v1/policies/:id/score',
    'write',
    simulatedScoreSchema.safeExtend({ id: z.string() }),
    policyVersionSchema,
  ),
  /** Lets a version have no new sessions any more. */
  'policies.retire': verb('POST', '/v1/policies/:id/retire', 'write', byId, policyVersionSchema),

  'sessions.create': verb(
    'POST',
    '/v1/sessions',
    'robot',
    sessionOptionsSchema,
    sessionGrantSchema,
  ),
  /** A new token with the next epoch, for a robot that reconnects or renews the one it has. */
  'sessions.resume': verb(
    'POST',
    '/v1/sessions/:id/resume',
    'robot',
    byId.extend({
      /** Worker to stay at (`worker` of its welcome), if it is ready; the one of the last grant unless told. */
      worker: z.string().min(1).max(64).optional(),
      /** Url of the grant whose worker was not reached or had no place: another is chosen, if one is ready. */
      avoid_url: z.string().min(1).max(2048).optional(),
    }),
    sessionGrantSchema,
  ),
  'sessions.end': verb('DELETE', '/v1/sessions/:id', 'robot', byId, sessionSchema),
  'sessions.list': verb('GET', '/v1/sessions', 'read', pageQuery, page(sessionSchema)),
  'sessions.get': verb('GET', '/v1/sessions/:id', 'read', byId, sessionSchema),

  'webhooks.create': verb(
    'POST',
    '/v1/webhooks',
    'admin',
    z.strictObject({ url: receiver, events }),
    withSecret,
  ),
  'webhooks.list': verb('GET', '/v1/webhooks', 'admin', pageQuery, page(webhookSchema)),
  'webhooks.get': verb('GET', '/v1/webhooks/:id', 'admin', byId, webhookSchema),
  'webhooks.update': verb(
    'POST',
    '/v1/webhooks/:id',
    'admin',
    z.strictObject({
      id: z.string(),
      url: receiver.optional(),
      events: events.optional(),
      enabled: z.boolean().optional(),
    }),
    webhookSchema,
  ),
  'webhooks.delete': verb('DELETE', '/v1/webhooks/:id', 'admin', byId, webhookSchema),
  /** A new secret; the old one signs beside it for `overlap_s` more seconds. */
  'webhooks.rotate': verb(
    'POST',
    '/v1/webhooks/:id/rotate',
    'admin',
    z.strictObject({ id: z.string(), overlap_s: overlap }),
    withSecret,
  ),
  /** Sends it a message `webhook.test`, to see whether it arrives. */
  'webhooks.test': verb('POST', '/v1/webhooks/:id/test', 'admin', byId, webhookDeliverySchema),
  /** What an endpoint was told, newest first. */
  'webhooks.deliveries': verb(
    'GET',
    '/v1/webhooks/:id/deliveries',
    'admin',
    pageQuery.extend({ id: z.string() }),
    page(webhookDeliverySchema),
  ),
  /** Sends a message that came to its end again, under the same id. */
  'webhooks.replay': verb(
    'POST',
    '/v1/webhooks/deliveries/:id/replay',
    'admin',
    byId,
    webhookDeliverySchema,
  ),

  'usage.get': verb(
    'GET',
    '/v1/usage',
    'read',
    z.strictObject({
      session_id: z.string().optional(),
      robot: z.string().optional(),
      ...period,
      group_by: z.enum(['hour', 'day', 'session', 'robot', 'policy_version']).default('day'),
    }),
    usageSchema,
  ),
  /** Closed windows, newest first: what an export is made of. */
  'usage.lines': verb(
    'GET',
    '/v1/usage/lines',
    'read',
    pageQuery.extend(period),
    page(usageLineSchema),
  ),
  'prices.list': verb(
    'GET',
    '/v1/prices',
    'read',
    empty,
    z.object({ items: z.array(priceSheetSchema) }),
  ),
  'reasoning.list': verb(
    'GET',
    '/v1/reasoning',
    'read',
    pageQuery.extend({
      session_id: z.string(),
    }),
    page(reasoningRecordSchema),
  ),
} as const;

/** Schemas that have a name of their own in generated descriptions of the interface. */
export const schemaNames = {
  Problem: problemSchema,
  Tenant: tenantSchema,
  Key: keySchema,
  Member: memberSchema,
  Invitation: invitationSchema,
  Person: personSchema,
  Account: accountSchema,
  AuditLine: auditLineSchema,
  EmbodimentSpec: embodimentSpecSchema,
  Embodiment: embodimentSchema,
  DatasetFile: datasetFileSchema,
  Dataset: datasetSchema,
  DatasetEpisode: datasetEpisodeSchema,
  UploadPlan: uploadPlanSchema,
  FinetuneOptions: finetuneOptionsSchema,
  FinetuneEstimate: finetuneEstimateSchema,
  Finetune: finetuneSchema,
  JobEvent: jobEventSchema,
  MetricPoint: metricPointSchema,
  Checkpoint: checkpointSchema,
  PolicyVersion: policyVersionSchema,
  PolicyFiles: policyFilesSchema,
  Session: sessionSchema,
  SessionGrant: sessionGrantSchema,
  Webhook: webhookSchema,
  WebhookDelivery: webhookDeliverySchema,
  Usage: usageSchema,
  UsageLine: usageLineSchema,
  PriceSheet: priceSheetSchema,
  ReasoningRecord: reasoningRecordSchema,
} as const;

/** What a verb asks of its caller. */
export type Need = z.infer<typeof scopeSchema> | 'platform' | 'invitation' | 'person';

export type RouteName = keyof typeof routes;
export type RouteInput<N extends RouteName> = z.input<(typeof routes)[N]['input']>;
export type RouteParsed<N extends RouteName> = z.output<(typeof routes)[N]['input']>;
export type RouteOutput<N extends RouteName> = z.output<(typeof routes)[N]['output']>;

function verb<
  M extends 'GET' | 'POST' | 'DELETE',
  S extends Need,
  I extends z.ZodType,
  O extends z.ZodType,
>(method: M, path: string, scope: S, input: I, output: O) {
  return { method, path, scope, input, output } as const;
}
