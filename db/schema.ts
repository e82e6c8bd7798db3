import { boolean, doublePrecision, integer, jsonb, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { bytea, instant, tenantTable, whole } from './columns.ts';

/** `jsonb` columns are `unknown` here: who reads one parses it with the contract's schema. */

export const tenants = pgTable('tenants', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  timeZone: text('time_zone').notNull().default('UTC'),
  createdAt: instant('created_at').notNull().defaultNow(),
});

export const apiKeys = tenantTable('api_keys', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  start: text('start').notNull(),
  hash: bytea('hash').notNull(),
  scopes: text('scopes').array().notNull(),
  memberId: text('member_id'),
  /** Id of the first of the keys that were put one in another's place by rotation. */
  lineage: text('lineage').notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
  expiresAt: instant('expires_at'),
  lastUsedAt: instant('last_used_at'),
  revokedAt: instant('revoked_at'),
});

export type MemberRole = 'owner' | 'engineer' | 'operator' | 'viewer';
export const members = tenantTable('members', {
  id: text('id').primaryKey(),
  email: text('email').notNull(),
  role: text('role').$type<MemberRole>().notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
  removedAt: instant('removed_at'),
  /** Who signs in as this member; null for one who has a key alone. */
  personId: text('person_id'),
});

export const invitations = tenantTable('invitations', {
  id: text('id').primaryKey(),
  email: text('email').notNull(),
  role: text('role').$type<MemberRole>().notNull(),
  hash: bytea('hash').notNull(),
  invitedBy: text('invited_by').notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
  expiresAt: instant('expires_at').notNull(),
  revokedAt: instant('revoked_at'),
  acceptedAt: instant('accepted_at'),
  memberId: text('member_id'),
});

export const auditLog = tenantTable('audit_log', {
  id: text('id').primaryKey(),
  actor: text('actor').notNull(),
  verb: text('verb').notNull(),
  subjectId: text('subject_id').notNull(),
  requestId: text('request_id').notNull(),
  detail: jsonb('detail').$type<Record<string, unknown>>().notNull().default({}),
  createdAt: instant('created_at').notNull().defaultNow(),
});

export type IdempotencyState = 'running' | 'applied' | 'done';
const idempotencyColumns = {
  verb: text('verb').notNull(),
  keyHash: bytea('key_hash').notNull(),
  inputHash: bytea('input_hash').notNull(),
  state: text('state').$type<IdempotencyState>().notNull(),
  owner: text('owner').notNull(),
  answer: bytea('answer'),
  claimedAt: instant('claimed_at').notNull().defaultNow(),
  expiresAt: instant('expires_at').notNull(),
};
export const idempotencyKeys = tenantTable('idempotency_keys', idempotencyColumns);

/** The operator's, whose column `caller` stands where a tenant's table has the tenant. */
export const operatorKeys = pgTable('operator_keys', {
  ...idempotencyColumns,
  tenantId: text('caller').notNull(),
});

export const tenantLimits = tenantTable('tenant_limits', {
  name: text('name').notNull(),
  value: doublePrecision('value').notNull(),
});

export const keyLimits = tenantTable('key_limits', {
  lineage: text('lineage').notNull(),
  name: text('name').notNull(),
  value: doublePrecision('value').notNull(),
});

/** Written by `armature_take_at` alone. */
export const rateBuckets = tenantTable('rate_buckets', {
  name: text('name').notNull(),
  tokens: doublePrecision('tokens').notNull(),
  countedAt: instant('counted_at').notNull(),
  lent: doublePrecision('lent').notNull().default(0),
  lentBefore: doublePrecision('lent_before').notNull().default(0),
  lentIn: whole('lent_in').notNull().default(0),
});

export const embodiments = tenantTable('embodiments', {
  id: text('id').primaryKey(),
  spec: jsonb('spec').notNull(),
  activePolicyVersionId: text('active_policy_version_id'),
  canaryPolicyVersionId: text('canary_policy_version_id'),
  canaryShare: doublePrecision('canary_share'),
  canarySince: instant('canary_since'),
  createdAt: instant('created_at').notNull().defaultNow(),
});

export type DatasetStatus = 'uploading' | 'validating' | 'ready' | 'rejected' | 'deleted';
export const datasets = tenantTable('datasets', {
  id: text('id').primaryKey(),
  embodimentId: text('embodiment_id').notNull(),
  name: text('name').notNull(),
  status: text('status').$type<DatasetStatus>().notNull(),
  prefix: text('prefix').notNull(),
  bytes: whole('bytes').notNull(),
  files: integer('files').notNull(),
  progress: doublePrecision('progress').notNull().default(0),
  report: jsonb('report'),
  excludedEpisodes: integer('excluded_episodes').array().notNull().default([]),
  quarantinedUntil: instant('quarantined_until'),
  deletedAt: instant('deleted_at'),
  createdAt: instant('created_at').notNull().defaultNow(),
  uploadUntil: instant('upload_until').notNull().defaultNow(),
  /** Of the key that made it; null for a person. */
  keyLineage: text('key_lineage'),
});

export const datasetFiles = tenantTable('dataset_files', {
  datasetId: text('dataset_id').notNull(),
  path: text('path').notNull(),
  size: whole('size').notNull(),
  sha256: text('sha256').notNull(),
  uploadedAt: instant('uploaded_at'),
  /** Of a file that is uploaded by parts: what each must be, in their order. */
  parts: jsonb('parts').$type<{ size: number; sha256: string }[]>(),
  /** The store's id of the multipart upload, once there is one. */
  uploadId: text('upload_id'),
});

export const finetunes = tenantTable('finetunes', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  embodimentId: text('embodiment_id').notNull(),
  datasetId: text('dataset_id').notNull(),
  addedDatasetIds: text('added_dataset_ids').array().notNull().default([]),
  heldoutDatasetId: text('heldout_dataset_id'),
  options: jsonb('options').notNull(),
  /** One of the contract's `finetuneStatusSchema`, which who reads it parses it with. */
  status: text('status').notNull(),
  progress: doublePrecision('progress').notNull().default(0),
  train: jsonb('train'),
  evaluation: jsonb('evaluation'),
  error: jsonb('error'),
  estimate: jsonb('estimate'),
  etaAt: instant('eta_at'),
  checkpoint: jsonb('checkpoint').$type<{
    key: string;
    step: number;
    sha256: string;
    bytes?: number;
  }>(),
  policyVersionId: text('policy_version_id'),
  /** Of the key that began it last; null for a person. */
  keyLineage: text('key_lineage'),
  createdAt: instant('created_at').notNull().defaultNow(),
  finishedAt: instant('finished_at'),
});

export const policyVersions = tenantTable('policy_versions', {
  id: text('id').primaryKey(),
  embodimentId: text('embodiment_id').notNull(),
  finetuneId: text('finetune_id'),
  name: text('name').notNull(),
  digest: text('digest').notNull(),
  prefix: text('prefix').notNull(),
  statsHash: text('stats_hash').notNull(),
  preprocessHash: text('preprocess_hash').notNull(),
  mode: text('mode').notNull(),
  data: jsonb('data'),
  code: jsonb('code'),
  heldout: jsonb('heldout'),
  simulated: jsonb('simulated'),
  sampler: jsonb('sampler').notNull(),
  prefixDelayMax: integer('prefix_delay_max').notNull().default(0),
  bytes: whole('bytes').notNull(),
  retiredAt: instant('retired_at'),
  /** Since when its files are taken away, which happens some time after it was retired. */
  expiredAt: instant('expired_at'),
  createdAt: instant('created_at').notNull().defaultNow(),
});

export const webhookEndpoints = tenantTable('webhook_endpoints', {
  id: text('id').primaryKey(),
  url: text('url').notNull(),
  events: text('events').array().notNull(),
  sealedSecret: text('sealed_secret').notNull(),
  sealedPrevious: text('sealed_previous'),
  previousUntil: instant('previous_until'),
  enabled: boolean('enabled').notNull().default(true),
  createdAt: instant('created_at').notNull().defaultNow(),
});

export type WebhookDeliveryStatus = 'pending' | 'delivered' | 'failed';
/** Made by a trigger when a fine-tune or data set changes its state. */
export const webhookDeliveries = tenantTable('webhook_deliveries', {
  id: text('id').primaryKey(),
  endpointId: text('endpoint_id').notNull(),
  event: text('event').notNull(),
  payload: jsonb('payload').notNull(),
  status: text('status').$type<WebhookDeliveryStatus>().notNull().default('pending'),
  attempts: integer('attempts').notNull().default(0),
  jobId: uuid('job_id'),
  answerStatus: integer('answer_status'),
  error: text('error'),
  createdAt: instant('created_at').notNull().defaultNow(),
  endedAt: instant('ended_at'),
});

export type JobKind = 'ingest' | 'finetune';
export type JobStatus = 'queued' | 'running' | 'paused' | 'succeeded' | 'failed' | 'cancelled';
export const jobs = tenantTable('jobs', {
  id: text('id').primaryKey(),
  kind: text('kind').$type<JobKind>().notNull(),
  subjectId: text('subject_id').notNull(),
  status: text('status').$type<JobStatus>().notNull().default('queued'),
  attempt: integer('attempt').notNull().default(0),
  fence: whole('fence').notNull().default(0),
  leaseOwner: text('lease_owner'),
  leaseUntil: instant('lease_until'),
  /** Since when the attempt that runs has had its worker. */
  claimedAt: instant('claimed_at'),
  runAt: instant('run_at').notNull().defaultNow(),
  cancelRequested: boolean('cancel_requested').notNull().default(false),
  pauseRequested: boolean('pause_requested').notNull().default(false),
  createdAt: instant('created_at').notNull().defaultNow(),
  finishedAt: instant('finished_at'),
  error: jsonb('error'),
});

export type JobEventKind =
  'status' | 'progress' | 'metrics' | 'checkpoint' | 'message' | 'warning' | 'error';
export const jobEvents = tenantTable('job_events', {
  subjectId: text('subject_id').notNull(),
  seq: integer('seq').notNull(),
  at: instant('at').notNull().defaultNow(),
  kind: text('kind').$type<JobEventKind>().notNull(),
  message: text('message').notNull(),
  data: jsonb('data').$type<Record<string, number>>().notNull().default({}),
});

export const sessions = tenantTable('sessions', {
  id: text('id').primaryKey(),
  robot: text('robot').notNull(),
  embodimentId: text('embodiment_id').notNull(),
  policyVersionId: text('policy_version_id').notNull(),
  epoch: integer('epoch').notNull().default(0),
  options: jsonb('options').notNull(),
  workerId: text('worker_id').notNull(),
  /** Of the key that made it; null for a person. */
  keyLineage: text('key_lineage'),
  createdAt: instant('created_at').notNull().defaultNow(),
  /** When its robot last got a token. */
  grantedAt: instant('granted_at').notNull().defaultNow(),
  endedAt: instant('ended_at'),
});

export const usageEvents = tenantTable('usage_events', {
  id: text('id').primaryKey(),
  sessionId: text('session_id').notNull(),
  policyVersionId: text('policy_version_id').notNull(),
  reasoningId: text('reasoning_id'),
  actions: integer('actions').notNull(),
  reasoningTokens: integer('reasoning_tokens').notNull(),
  computeUs: whole('compute_us').notNull(),
  at: instant('at').notNull(),
  windowAt: instant('window_at').notNull(),
});

export type PolicyFault = 'refused' | 'not_finite' | 'load_failed';
export const policyFaults = tenantTable('policy_faults', {
  id: text('id').primaryKey(),
  sessionId: text('session_id').notNull(),
  policyVersionId: text('policy_version_id').notNull(),
  fault: text('fault').$type<PolicyFault>().notNull(),
  message: text('message').notNull(),
  at: instant('at').notNull(),
});

export const policyWindows = tenantTable('policy_windows', {
  policyVersionId: text('policy_version_id').notNull(),
  windowAt: instant('window_at').notNull(),
  chunks: integer('chunks').notNull(),
  refused: integer('refused').notNull(),
  notFinite: integer('not_finite').notNull(),
  loadFailed: integer('load_failed').notNull(),
});

export const policyDeviations = tenantTable('policy_deviations', {
  policyVersionId: text('policy_version_id').notNull(),
  sessionId: text('session_id').notNull(),
  windowAt: instant('window_at').notNull(),
  chunks: integer('chunks').notNull(),
  deviation: doublePrecision('deviation').notNull(),
});

export const trainingUsage = tenantTable('training_usage', {
  id: text('id').primaryKey(),
  finetuneId: text('finetune_id').notNull(),
  computeUs: whole('compute_us').notNull(),
  at: instant('at').notNull(),
  windowAt: instant('window_at').notNull(),
});

export const usageWindows = tenantTable('usage_windows', {
  id: text('id').primaryKey(),
  windowAt: instant('window_at').notNull(),
  sessionId: text('session_id'),
  robot: text('robot'),
  policyVersionId: text('policy_version_id'),
  finetuneId: text('finetune_id'),
  chunks: integer('chunks').notNull(),
  actions: whole('actions').notNull(),
  reasoningTokens: whole('reasoning_tokens').notNull(),
  computeUs: whole('compute_us').notNull(),
  trainingUs: whole('training_us').notNull(),
});

export const usageCursors = tenantTable('usage_cursors', {
  closedUntil: instant('closed_until').notNull(),
});

export const reasoningRecords = tenantTable('reasoning_records', {
  id: text('id').primaryKey(),
  sessionId: text('session_id').notNull(),
  text: text('text').notNull(),
  source: text('source').notNull(),
  tokens: integer('tokens').notNull(),
  createdAt: instant('created_at').notNull(),
});

export type ServeWorkerState = 'ready' | 'draining';
/** Serve workers belong to the platform, not to a tenant. */
export const serveWorkers = pgTable('serve_workers', {
  id: text('id').primaryKey(),
  url: text('url').notNull(),
  state: text('state').$type<ServeWorkerState>().notNull(),
  sessions: integer('sessions').notNull().default(0),
  heartbeatAt: instant('heartbeat_at').notNull().defaultNow(),
});
