/** Metering, reasoning records and the worker's heartbeat: the only folder here that opens the database. */
export { connect, isBrokenConnection, type Db } from '@armature/db';
export { DatabaseSink } from './database-sink.ts';
export { EndedSessions } from './ended-sessions.ts';
export type { FaultEntry, LedgerEntry, ReasoningEntry, UsageEntry } from './entry.ts';
export type { LedgerSink, RejectedLine } from './flusher.ts';
export { Heartbeat, type WorkerStatus } from './heartbeat.ts';
export { Ledger, type LedgerLog, type LedgerOptions } from './ledger.ts';
