import type { ObjectStore } from '@armature/storage';
import type { Clock } from './clock.ts';
import { Gateway, type TokenVerifier } from './gateway/index.ts';
import type { ImagePool } from './images/index.ts';
import type { Ledger } from './ledger/index.ts';
import { serveMetrics, type ServeMetrics } from './metrics.ts';
import {
  fetchPolicy,
  PolicyRegistry,
  type ActRow,
  type PolicyManifest,
  type PolicyPort,
} from './policies/index.ts';
import { Dispatcher, ObservationQueue, type EngineLane, type Enqueued } from './scheduler/index.ts';
import type { RowResult, SessionLog } from './session/index.ts';

/** A run that takes longer than this means that its engine is stuck. */
const STUCK_AFTER_MS = 60_000;

export interface ServeParts {
  readonly worker: string;
  readonly host: string;
  readonly port: number;
  readonly maxSessions: number;
  readonly maxBatch: number;
  readonly policySlots: number;
  /** Whether reasoning has an engine of its own. */
  readonly reasonEngine: boolean;
  readonly runtime: PolicyPort;
  readonly store: Pick<ObjectStore, 'get'>;
  readonly readManifest: (bytes: Uint8Array) => PolicyManifest;
  readonly verify: TokenVerifier;
  readonly images: Pick<ImagePool, 'prepare'>;
  readonly ledger: Pick<Ledger, 'append' | 'epochs' | 'flush'>;
  readonly metrics?: ServeMetrics;
  readonly clock: Clock;
  readonly log: SessionLog;
}

export interface Serve {
  readonly gateway: Gateway;
  readonly metrics: ServeMetrics;
}

/** Joins gateway, scheduler and policies to a worker, and listens. */
export async function startServe(parts: ServeParts): Promise<Serve> {
  const { runtime, clock, log } = parts;
  const metrics = parts.metrics ?? serveMetrics();
  const maxRows = Math.min(parts.maxBatch, runtime.maxBatch);
  const queue = new ObservationQueue<Enqueued<ActRow, RowResult>>({ maxRows, quantum: maxRows });
  const dispatcher = new Dispatcher<ActRow, RowResult>({
    queue,
    engines: engineLanes(parts.reasonEngine),
    run: (kind, rows) => runRows(runtime, kind, rows),
    now: () => clock.now(),
    onRun: ({ kind, engine, rows, tenants, ranMs }) => {
      metrics.run.observe({ kind }, ranMs / 1000);
      metrics.engineBusy.inc({ engine }, ranMs / 1000);
      metrics.batchRows.observe(rows);
      metrics.batchTenants.observe(tenants);
    },
    onError: (err, kind, rows) => log.error({ err, kind, rows }, 'a run failed'),
  });
  const policies = new PolicyRegistry({
    runtime,
    fetch: (ref) => fetchPolicy(parts.store, ref, parts.readManifest),
    capacity: parts.policySlots,
    onLoaded: ({ digest, ms }) => {
      metrics.policyLoad.observe(ms / 1000);
      log.info({ digest, ms: Math.round(ms) }, 'policy loaded');
    },
    onError: (err, digest) => log.warn({ err, digest }, 'a policy could not be loaded'),
  });
  const gateway = await Gateway.listen({
    worker: parts.worker,
    host: parts.host,
    port: parts.port,
    maxSessions: parts.maxSessions,
    healthy: () => dispatcher.longestRunMs() < STUCK_AFTER_MS,
    verify: parts.verify,
    flush: (timeoutMs) => parts.ledger.flush(timeoutMs),
    clock,
    policies,
    runtime,
    images: parts.images,
    dispatcher,
    ledger: parts.ledger,
    metrics,
    log,
  });
  metrics.observe({
    sessions: () => gateway.sessions,
    policies: () => policies.counts,
    waiting: () => queue.size,
    ready: () => gateway.ready,
  });
  return { gateway, metrics };
}

function engineLanes(reasonEngine: boolean): readonly EngineLane[] {
  return reasonEngine
    ? [
        { name: 'act', serves: ['act'] },
        { name: 'reason', serves: ['reason'] },
      ]
    : [{ name: 'act', serves: ['act', 'reason'] }];
}

async function runRows(
  runtime: PolicyPort,
  kind: string,
  rows: readonly ActRow[],
): Promise<readonly RowResult[]> {
  const results = await runKind(runtime, kind, [...rows]);
  if (results.length !== rows.length) {
    throw new Error(`${kind} of ${rows.length} rows gave ${results.length} results`);
  }
  return results;
}

async function runKind(runtime: PolicyPort, kind: string, rows: ActRow[]): Promise<RowResult[]> {
  if (kind === 'reason') {
    const made = await runtime.reason(rows);
    return made.map((reasoning) => ({ actions: undefined, reasoning }));
  }
  const made = kind === 'act' ? await runtime.act(rows) : await runtime.reasonAndAct(rows);
  return made.map(({ actions, reasoning }) => ({ actions, reasoning }));
}
