export { allTenants } from './all-tenants.ts';
export { isBrokenConnection } from './broken-connection.ts';
export { computeUsedS } from './compute-used.ts';
export {
  connect,
  inOneStatement,
  withPlatform,
  withSystem,
  withTenant,
  type ConnectOptions,
  type Db,
  type Tx,
} from './connection.ts';
export { DatabaseError, redactDatabaseError, sqlState } from './errors.ts';
export { appendEvents, type NewJobEvent } from './events.ts';
export {
  identityAdapter,
  sweepIdentity,
  takeAttempt,
  type AttemptRule,
  type IdentityAdapter,
} from './identity.ts';
export { newId, type IdentityPrefix, type IdPrefix } from './ids.ts';
export {
  cancelJob,
  claimJob,
  enqueue,
  heartbeat,
  holdLease,
  LeaseLostError,
  pauseJob,
  resumeJob,
  settle,
  type ClaimedJob,
  type JobOutcome,
  type JobSubject,
} from './jobs.ts';
export { keyLimit, tenantLimit } from './limits.ts';
export {
  writeRecords,
  writeTrainingUsage,
  type TrainingUsageRow,
  type WorkerRecord,
} from './metering.ts';
export {
  canaryRecords,
  rollBackCanary,
  type CanaryRecord,
  type Outcomes,
} from './policy-windows.ts';
export { migrate } from './migrate.ts';
export { Queue, type QueueOptions } from './queue.ts';
export type { QueuedData, QueuedWork } from './queued-work.ts';
export { LENT_MS, takeTokens, type Bucket, type Lent, type Settled } from './rate-buckets.ts';
export { ensureDatabase, setRolePasswords, urlForRole } from './roles.ts';
export { Sealing, SealingError, webhookOwner } from './sealing.ts';
export { endedSessions } from './ended-sessions.ts';
export { removeServeWorker, reportServeWorker } from './serve-workers.ts';
export {
  closableUntil,
  closeUsage,
  closeUsageWindows,
  usageClosedUntil,
  WINDOW_MS,
} from './usage-windows.ts';
export * from './schema.ts';
export {
  and,
  asc,
  count,
  desc,
  eq,
  gt,
  gte,
  inArray,
  isNull,
  isNotNull,
  lt,
  lte,
  ne,
  notInArray,
  or,
  sql,
  sum,
} from 'drizzle-orm';
