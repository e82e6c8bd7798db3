import * as z from 'zod';
import { embodimentSpecSchema, referenceSchema } from './embodiment.ts';
import { errorCodeSchema } from './errors.ts';
import { evaluationSchema } from './evaluation.ts';
import { finetuneStatusSchema } from './finetune-states.ts';
import { keyLimitsSchema } from './limits.ts';
import {
  codeVersionSchema,
  dataVersionSchema,
  heldoutScoreSchema,
  simulatedScoreSchema,
} from './provenance.ts';
import { reasoningCadenceSchema, samplerSchema } from './session-token.ts';

/** Instants are ISO 8601 in UTC. */
const instant = z.iso.datetime();
const id = z.string().min(3).max(64);
const label = z.string().min(1).max(120);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits');

export const tenantSchema = z.object({
  id,
  name: label,
  /** IANA name of the zone whose days and hours its usage is told by. */
  time_zone: z.string(),
  created_at: instant,
});
export type Tenant = z.infer<typeof tenantSchema>;

export const scopeSchema = z.enum(['admin', 'write', 'read', 'robot']);
export type Scope = z.infer<typeof scopeSchema>;

export const keySchema = z.object({
  id,
  name: label,
  /** First characters of the key, for recognition; the key itself is shown once. */
  start: z.string(),
  scopes: z.array(scopeSchema),
  /** The person whose key it is, with the scopes of the person's role; null for a machine's. */
  member_id: id.nullable(),
  /** Its own quotas, which it has in common with the keys that it was rotated to or from. */
  limits: keyLimitsSchema,
  created_at: instant,
  expires_at: instant.nullable(),
  last_used_at: instant.nullable(),
  revoked_at: instant.nullable(),
});
export type Key = z.infer<typeof keySchema>;

export const auditLineSchema = z.object({
  id,
  /** Id of the key or invitation that called, or `platform`. */
  actor: z.string(),
  /** The verb, e.g. `keys.create`; `policies.rollback` is the platform's own. */
  verb: z.string(),
  subject_id: z.string(),
  request_id: z.string(),
  detail: z.record(z.string(), z.unknown()),
  created_at: instant,
});
export type AuditLine = z.infer<typeof auditLineSchema>;

export const embodimentSchema = z.object({
  id,
  spec: embodimentSpecSchema,
  /** The policy version that new sessions of this embodiment get, if one is deployed. */
  active_policy_version_id: id.nullable(),
  /**
   * The version that a share of new sessions gets in its place, for comparison. It ends by itself where
   * its chunks are refused, or it cannot be loaded, more often than the deployed version.
   */
  canary: z.object({ policy_version_id: id, share: z.number(), since: instant }).nullable(),
  created_at: instant,
});
export type Embodiment = z.infer<typeof embodimentSchema>;

/** Most bytes of one file: an object of S3, which comes by parts. */
export const MAX_FILE_BYTES = 5 * 2 ** 40;
/** Most bytes of one PUT, of a part or of a file that is sent whole. */
export const MAX_PUT_BYTES = 5 * 2 ** 30;
/** Most parts of one file, as S3 has it. */
export const MAX_FILE_PARTS = 10_000;
/** Most parts of all files of one plan. */
export const MAX_PLAN_PARTS = 20_000;

/** A part of a file: its bytes follow those of the part before it. */
export const filePartSchema = z.strictObject({
  size: z.number().int().positive().max(MAX_PUT_BYTES),
  sha256,
});
export type FilePart = z.infer<typeof filePartSchema>;

/** A file of a data set, by its path inside the set. */
export const datasetFileSchema = z.strictObject({
  path: z
    .string()
    .min(1)
    .max(400)
    .regex(/^(?!\/)(?!.*\.\.)[A-Za-z0-9._\-/]+$/, 'must be a relative path without ..'),
  size: z.number().int().positive().max(MAX_FILE_BYTES),
  /** Of the whole file. */
  sha256,
  /**
   * What the file is uploaded in, from its first byte to its last; a file without parts is sent whole, and
   * one of more than 5 GiB cannot be. Each but the last has 5 MiB or more.
   */
  parts: z.array(filePartSchema).min(2).max(MAX_FILE_PARTS).optional(),
});
export type DatasetFile = z.infer<typeof datasetFileSchema>;

/** Whether a file of this name packs others. No archive is ever opened: data sets hold files as they are. */
export const isArchive = (path: string): boolean =>
  /\.(zip|tar|tgz|tbz2?|txz|gz|bz2|xz|zst|lz4|7z|rar)$/i.test(path);

export const datasetStatusSchema = z.enum([
  'uploading',
  'validating',
  'ready',
  'rejected',
  'deleted',
]);

export const findingSchema = z.object({
  severity: z.enum(['error', 'warning']),
  code: z.string(),
  message: z.string(),
  fix: z.string(),
  episode: z.number().int().optional(),
  /** Where many findings of a kind are told as one: the episodes that they are of, in order. */
  episodes: z.array(z.number().int()).optional(),
  feature: z.string().optional(),
});
export type Finding = z.infer<typeof findingSchema>;

const perDimension = z.array(z.number());
/** True statistics over every frame of a set; quantiles by linear interpolation. */
export const featureStatsSchema = z.object({
  names: z.array(z.string()),
  mean: perDimension,
  std: perDimension,
  min: perDimension,
  max: perDimension,
  q01: perDimension,
  q10: perDimension,
  q50: perDimension,
  q90: perDimension,
  q99: perDimension,
});
export type FeatureStats = z.infer<typeof featureStatsSchema>;

export const datasetReportSchema = z.object({
  format: z.string(),
  robot_type: z.string(),
  fps: z.number(),
  episodes: z.number().int(),
  frames: z.number().int(),
  tasks: z.array(z.string()),
  cameras: z.array(z.object({ name: z.string(), width: z.number(), height: z.number() })),
  findings: z.array(findingSchema),
  stats: z.object({ state: featureStatsSchema, action: featureStatsSchema }).nullable(),
  /** Decoded video frames a second and peak resident memory while the set was checked. */
  ingest: z.object({ seconds: z.number(), frames_per_s: z.number(), peak_rss_mb: z.number() }),
});
export type DatasetReport = z.infer<typeof datasetReportSchema>;

export const datasetSchema = z.object({
  id,
  name: label,
  embodiment_id: id,
  status: datasetStatusSchema,
  files: z.number().int(),
  bytes: z.number().int(),
  /** Share of the validation that is done, 0 to 1. */
  progress: z.number(),
  report: datasetReportSchema.nullable(),
  /** Episodes that were left out when the set was accepted without them. */
  without_episodes: z.array(z.number().int()).optional(),
  /** Of a rejected set: when its files are taken away, unless it is accepted or deleted before. */
  quarantined_until: instant.nullable(),
  deleted_at: instant.nullable(),
  created_at: instant,
});
export type Dataset = z.infer<typeof datasetSchema>;

/** One presigned PUT of a file or a part of it: send exactly `size` bytes with exactly these headers. */
export const uploadPartSchema = z.object({
  path: z.string(),
  url: z.url(),
  method: z.literal('PUT'),
  headers: z.record(z.string(), z.string()),
  size: z.number().int(),
  /** Which part of the file, from 1, and from which of its bytes; absent where the file is sent whole. */
  part: z.object({ number: z.number().int(), offset: z.number().int() }).optional(),
});
export type UploadPart = z.infer<typeof uploadPartSchema>;
export const uploadPlanSchema = z.object({
  dataset: datasetSchema,
  /** What is not there yet, of the files that are not. */
  parts: z.array(uploadPartSchema),
  expires_at: instant,
});

export const finetuneModeSchema = z.enum(['head', 'policy', 'lora', 'full']);

export type FinetuneMode = z.infer<typeof finetuneModeSchema>;

/** What each mode moves as well: pairs stand beside a trunk that `full` moves and `policy` moves in part. */
const movesToo: Readonly<Record<FinetuneMode, readonly FinetuneMode[]>> = {
  head: [],
  policy: ['head'],
  lora: ['head'],
  full: ['head', 'policy', 'lora'],
};

/** Whether a mode moves all that `other` moves. */
export function movesAllOf(mode: FinetuneMode, other: FinetuneMode): boolean {
  return mode === other || movesToo[mode].includes(other);
}

/** What the layers that a fine-tune leaves as they are, and computes features with, are held in. */
export const frozenFormSchema = z.enum(['float32', 'int8', 'int4']);
export type FrozenForm = z.infer<typeof frozenFormSchema>;

/** Whether a mode computes features of frozen layers once, which then may have another form. */
export function keepsFeatures(mode: FinetuneMode): boolean {
  return mode === 'head' || mode === 'policy';
}

/** Largest share of a batch that is in memory at once. */
const MAX_SHARE = 512;

const finetuneOptionFields = z.strictObject({
  mode: finetuneModeSchema.default('head'),
  /** Optimiser steps; 0 makes a version with a fresh head and the set's statistics. */
  steps: z.number().int().min(0).max(200_000).optional(),
  /** Stops after this many seconds of training, if that comes first. */
  max_seconds: z.number().positive().max(86_400).optional(),
  /** Samples of a step, at most 512 in each share of it. */
  batch_size: z.number().int().min(1).max(8192).optional(),
  /**
   * Equal shares in which a batch is taken, one after the other; their gradients add up before the weights
   * move, so that memory is that of one share. Needs a `batch_size` that it divides; 1 unless set.
   */
  accumulate: z.number().int().min(1).max(64).optional(),
  learning_rate: z.number().positive().max(1).optional(),
  seed: z.number().int().min(0).default(0),
  /**
   * Trains chunks that go on from up to so many actions of the chunk before them, so that sessions can
   * ask for `trained` real-time chunking: the steps that the slowest answer takes. At most half the
   * embodiment's horizon; 0 or absent trains without.
   */
  prefix_delay_max: z.number().int().min(0).max(32).optional(),
  /** Overrides the reference of every joint group of the embodiment for this version. */
  reference: referenceSchema.optional(),
  /** `blank` trains and evaluates without pictures (an ablation). */
  images: z.enum(['use', 'blank']).default('use'),
  /**
   * Random crops of training pictures, by the share of a side that one takes away at most, beside what
   * the mode does to them anyway. For modes `lora` and `full`, which train on pictures.
   */
  random_crop: z.number().min(0).max(0.5).optional(),
  /** Random changes of training pictures' saturation and hue, by their strength. As `random_crop`. */
  colour_jitter: z.number().min(0).max(1).optional(),
  /**
   * Whether the policy reads how fast each joint of the state moves, which serving takes from the
   * observation before. Absent: `use` in mode `full`, `ignore` in the others. Never where actions are
   * relative to the last command, which says more.
   */
  velocity: z.enum(['use', 'ignore']).optional(),
  /**
   * What the frozen layers that see, read and reason are computed in, in training and by whoever serves the
   * version: 8 or 4 bits cost accuracy. In modes `head` and `policy`, on CPUs; absent: float32.
   */
  frozen_weights: frozenFormSchema.optional(),
  /** Where reasoning labels come from when the set has none. */
  labels: z.enum(['joints', 'vision_endpoint', 'none']).default('joints'),
  /** Use only the first n episodes. */
  max_episodes: z.number().int().positive().optional(),
  /**
   * Goes on from this version's weights, with its normalisation, in place of the base model's and a
   * fresh head. Of the same embodiment and references; its mode moved no more than this one's.
   */
  base_policy_version_id: id.optional(),
});

export const finetuneOptionsSchema = finetuneOptionFields.superRefine((options, context) => {
  const { batch_size: batch, accumulate: shares = 1 } = options;
  const problem = (field: 'accumulate' | 'batch_size', message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message });
  if (batch === undefined) {
    if (shares > 1) problem('accumulate', 'needs a batch_size that it divides');
  } else if (batch % shares !== 0) {
    problem('accumulate', `does not divide a batch_size of ${batch}`);
  } else if (batch / shares > MAX_SHARE) {
    const least = Math.ceil(batch / MAX_SHARE);
    problem('batch_size', `over ${MAX_SHARE} samples need an accumulate of ${least} or more`);
  }
});
export type FinetuneOptions = z.infer<typeof finetuneOptionsSchema>;

/** An amount of the currency as an exact decimal. */
export const amountSchema = z.string().regex(/^\d+\.\d{2,12}$/, 'must be a decimal amount');

/** What a fine-tune is expected to take, and what it costs then. */
export const finetuneEstimateSchema = z.object({
  steps: z.number().int(),
  /** Seconds that a worker is busy with it. */
  seconds: z.number().int(),
  cost: amountSchema,
  currency: z.string(),
  price_sheet: z.string(),
  /** Whether the tenant's own fine-tunes of this mode say so, or the platform's reference. */
  basis: z.enum(['measured', 'reference']),
});
export type FinetuneEstimate = z.infer<typeof finetuneEstimateSchema>;

export const trainSummarySchema = z.object({
  mode: finetuneModeSchema,
  steps: z.number().int(),
  samples_per_s: z.number(),
  seconds: z.number(),
  first_loss: z.number(),
  last_loss: z.number(),
});

export const finetuneSchema = z.object({
  id,
  name: label,
  embodiment_id: id,
  dataset_id: id,
  /** Sets that it trains on together with the first, in this order. */
  added_dataset_ids: z.array(id),
  heldout_dataset_id: id.nullable(),
  options: finetuneOptionsSchema,
  status: finetuneStatusSchema,
  attempt: z.number().int(),
  /** Share of the whole job that is done, 0 to 1. */
  progress: z.number(),
  error: z
    .object({
      code: errorCodeSchema,
      message: z.string(),
      field: z.string().optional(),
      fix: z.string().optional(),
    })
    .nullable(),
  /** As it was when the job was made or started; null for jobs from before there were estimates. */
  estimate: finetuneEstimateSchema.nullable(),
  /** The last checkpoint that is durable: where a job that is resumed or retried goes on. */
  checkpoint: z.object({ step: z.number().int() }).nullable(),
  /** When the worker expects the job to end; null before it knows, and after the end. */
  eta_at: instant.nullable(),
  train: trainSummarySchema.nullable(),
  evaluation: evaluationSchema.nullable(),
  policy_version_id: id.nullable(),
  created_at: instant,
  finished_at: instant.nullable(),
});
export type Finetune = z.infer<typeof finetuneSchema>;

/** One line of a job's history; `seq` increases by one from 1 within a job. */
export const jobEventSchema = z.object({
  seq: z.number().int(),
  at: instant,
  kind: z.enum(['status', 'progress', 'metrics', 'checkpoint', 'message', 'warning', 'error']),
  message: z.string(),
  /** For `metrics`: step, steps, loss, action_loss, reasoning_loss, samples_per_s, eta_s. */
  data: z.record(z.string(), z.number()),
});
export type JobEvent = z.infer<typeof jobEventSchema>;

/** Figures that training reports about once a second. */
export const metricNameSchema = z.enum([
  'loss',
  'action_loss',
  'reasoning_loss',
  'samples_per_s',
  'eta_s',
]);
export type MetricName = z.infer<typeof metricNameSchema>;
/** What was reported of one figure over some steps. */
export const metricPointSchema = z.object({
  /** The last of the steps. */
  step: z.number().int(),
  at: instant,
  /** Mean of the reports; each is itself the mean since the one before. */
  value: z.number(),
  min: z.number(),
  max: z.number(),
  lines: z.number().int(),
});
export type MetricPoint = z.infer<typeof metricPointSchema>;

/** A checkpoint that lies in the object store, whole. */
export const checkpointSchema = z.object({
  step: z.number().int(),
  /** Null where it was written before its size was recorded. */
  bytes: z.number().int().nullable(),
  sha256,
  at: instant.nullable(),
});
export type Checkpoint = z.infer<typeof checkpointSchema>;

/** A score, or why there is none. */
const scored = <T extends z.ZodType>(score: T) =>
  z.object({ score: score.nullable(), reason: z.string().nullable() });

export const policyVersionSchema = z.object({
  id,
  name: label,
  embodiment_id: id,
  finetune_id: id.nullable(),
  digest: sha256,
  stats_hash: z.string(),
  preprocess_hash: z.string(),
  mode: finetuneModeSchema,
  /** What it was trained on, in order; null for versions from before that was recorded. */
  data: z.array(dataVersionSchema.extend({ dataset_id: id })).nullable(),
  /** What it was trained by; null as above. */
  code: codeVersionSchema.nullable(),
  scores: z.object({
    heldout: scored(heldoutScoreSchema),
    simulated: scored(simulatedScoreSchema),
  }),
  /** Denoising steps and scale of the starting noise that its sessions have unless they ask for others. */
  sampler: samplerSchema,
  /**
   * Most actions of a previous chunk that it was trained to go on from; 0 where it was not trained so,
   * and a session cannot ask for `trained` real-time chunking.
   */
  prefix_delay_max: z.number().int().nonnegative(),
  bytes: z.number().int(),
  active: z.boolean(),
  /** From when it gets no new sessions. */
  retired_at: instant.nullable(),
  created_at: instant,
});
export type PolicyVersion = z.infer<typeof policyVersionSchema>;

/** A file of a policy version, with a URL that reads it, whole or by ranges, until it expires. */
export const policyFileSchema = z.object({
  path: datasetFileSchema.shape.path,
  size: z.number().int(),
  sha256,
  url: z.url(),
});
export type PolicyFile = z.infer<typeof policyFileSchema>;
export const policyFilesSchema = z.object({
  id,
  digest: sha256,
  /** `manifest.json`, whose sha256 is the digest, and the weights that it names. */
  files: z.array(policyFileSchema),
  expires_at: instant,
});

export const sessionSchema = z.object({
  id,
  robot: label,
  embodiment_id: id,
  policy_version_id: id,
  epoch: z.number().int(),
  created_at: instant,
  ended_at: instant.nullable(),
});
export type Session = z.infer<typeof sessionSchema>;

/** A session with what a robot needs to connect; the token is short-lived. */
export const sessionGrantSchema = z.object({
  session: sessionSchema,
  /** Where the robot connects, a WebSocket of the subprotocol `armature.v1`. */
  url: z.string(),
  /**
   * POST here with the token as bearer, as soon as it is there: the worker keeps a place for the robot and
   * fetches its policy meanwhile. The SDK's `sessions.create` does so by itself; without it the first
   * chunk of a version that the worker has not loaded waits for it.
   */
  announce_url: z.string(),
  token: z.string(),
  token_expires_at: instant,
  embodiment: embodimentSpecSchema,
});
export type SessionGrant = z.infer<typeof sessionGrantSchema>;

export const sessionOptionsSchema = z.strictObject({
  robot: label,
  embodiment_id: id,
  /** The deployed version when absent. */
  policy_version_id: id.optional(),
  reasoning: reasoningCadenceSchema.default({ when: 'every_chunk' }),
  /** Overrides the sampler that the version was tuned with. */
  sampler: samplerSchema.optional(),
  max_hz: z.number().positive().max(1000).optional(),
});

/** What a webhook can tell: every state that a fine-tune or a data set comes into. */
export const webhookEventSchema = z.enum([
  ...finetuneStatusSchema.options.map((status) => `finetune.${status}` as const),
  'dataset.validating',
  'dataset.ready',
  'dataset.rejected',
  'dataset.deleted',
]);
export const webhookSchema = z.object({
  id,
  url: z.url(),
  events: z.array(webhookEventSchema),
  /** False where the tenant stopped it, or its receiver answered 410. */
  enabled: z.boolean(),
  created_at: instant,
});
export type Webhook = z.infer<typeof webhookSchema>;

/** One message to one endpoint; its id is the `webhook-id` that the receiver tells repeats by. */
export const webhookDeliverySchema = z.object({
  id,
  webhook_id: id,
  event: z.enum([...webhookEventSchema.options, 'webhook.test']),
  payload: z.record(z.string(), z.unknown()),
  status: z.enum(['pending', 'delivered', 'failed']),
  attempts: z.number().int(),
  /** Of the last attempt: what was answered, or why nothing was. */
  answer_status: z.number().int().nullable(),
  error: z.string().nullable(),
  created_at: instant,
  ended_at: instant.nullable(),
});
export type WebhookDelivery = z.infer<typeof webhookDeliverySchema>;

const usedSchema = z.object({
  chunks: z.number().int(),
  actions: z.number().int(),
  reasoning_tokens: z.number().int(),
  /** Computation of serving, and of fine-tunes. */
  compute_ms: z.number(),
  training_ms: z.number(),
  cost: amountSchema,
});
export const usageRowSchema = usedSchema.extend({
  /** As asked by `group_by`; days and hours are the tenant's. Training has the key `training`. */
  key: z.string(),
});
export const usageSchema = z.object({
  /** Widened to whole windows of a quarter of an hour. */
  from: instant,
  to: instant,
  time_zone: z.string(),
  currency: z.string(),
  /** Up to here nothing changes any more. */
  closed_until: instant,
  items: z.array(usageRowSchema),
  totals: usedSchema,
});
export type Usage = z.infer<typeof usageSchema>;

/** A closed window of a quarter of an hour: of a session and version, or of a fine-tune. */
export const usageLineSchema = usedSchema.extend({
  id: z.string(),
  window_at: instant,
  session_id: id.nullable(),
  robot: label.nullable(),
  policy_version_id: id.nullable(),
  finetune_id: id.nullable(),
  price_sheet: z.string(),
});
export type UsageLine = z.infer<typeof usageLineSchema>;

const price = z.string().regex(/^\d+(\.\d{1,12})?$/, 'must be a decimal price');
export const priceSheetSchema = z.object({
  version: z.string(),
  currency: z.string(),
  valid_from: instant,
  prices: z.object({
    chunk: price,
    action: price,
    reasoning_token: price,
    /** A second of computation of serving, and of training. */
    compute_s: price,
    training_s: price,
  }),
});
export type PriceSheet = z.infer<typeof priceSheetSchema>;

export const reasoningRecordSchema = z.object({
  id: z.string(),
  session_id: id,
  text: z.string(),
  /** What wrote it: the policy itself, or the labels it was trained on. */
  source: z.string(),
  /** Chunks that this reasoning drove; 0 for one that its robot was told of and that drove none. */
  chunks: z.number().int(),
  tokens: z.number().int(),
  created_at: instant,
});
export type ReasoningRecord = z.infer<typeof reasoningRecordSchema>;
