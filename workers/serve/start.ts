import { PolicyError } from '@armature/policy/runtime';
import { ArmatureError } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import { systemTimer, type Clock } from './clock.ts';
import { forWorker, Gateway, OpenpiAccess, type TokenVerifier } from './gateway/index.ts';
import type { ImagePool } from './images/index.ts';
import type { Ledger } from './ledger/index.ts';
import { serveMetrics, type ServeMetrics } from './metrics.ts';
import {
  fetchPolicy,
  PolicyRegistry,
  WarmShapes,
  type ActRow,
  type PolicyManifest,
  type PolicyPort,
} from './policies/index.ts';
import {
  Capacity,
  Dispatcher,
  ObservationQueue,
  runSize,
  type EngineLane,
  type Enqueued,
} from './scheduler/index.ts';
import type { RowResult, SessionLog } from './session/index.ts';

/** A run that takes longer than this means that its engine is stuck. */
const STUCK_AFTER_MS = 60_000;
/** Runs of this long ago count for what the engines can hold. */
const MEASURED_MS = 10_000;

/** One engine, which serves both lanes: an act row then waits for a reason run at most. */
const ONE_ENGINE: readonly EngineLane[] = [{ name: 'engine', serves: ['act', 'reason'] }];

export interface ServeParts {
  readonly worker: string;
  readonly host: string;
  readonly port: number;
  readonly maxSessions: number;
  /** Batch sizes that the runtime builds graphs for, ascending. */
  readonly buckets: readonly number[];
  readonly policySlots: number;
  /** How often robots are asked whether they are there, ms; 15,000 unless told. */
  readonly pingEveryMs?: number;
  /** Rows of one tenant that may run at once; no limit unless told. */
  readonly tenantLimit?: number;
  /** Share of the engines that sessions may need by what runs cost; 0.9 unless told. */
  readonly admissionFill?: number;
  readonly runtime: PolicyPort;
  /** Whether the runtime's threads are there; taken to be unless told. */
  readonly threadsAlive?: () => boolean;
  /** The runtime's engines and what each serves; one for both lanes unless told. */
  readonly engines?: readonly EngineLane[];
  readonly store: Pick<ObjectStore, 'get'>;
  readonly readManifest: (bytes: Uint8Array) => PolicyManifest;
  readonly verify: TokenVerifier;
  /** How clients that speak openpi's dialect get their session; with tokens alone unless told. */
  readonly openpi?: Pick<OpenpiAccess, 'open'>;
  readonly images: Pick<ImagePool, 'prepare'>;
  readonly ledger: Pick<Ledger, 'append' | 'epochs' | 'flush' | 'refusal' | 'backlog'>;
  readonly metrics?: ServeMetrics;
  readonly clock: Clock;
  readonly log: SessionLog;
}

export interface Serve {
  readonly gateway: Gateway;
  readonly metrics: ServeMetrics;
  /** Rows that wait for an engine. */
  readonly waiting: () => number;
}

/** Joins gateway, scheduler and policies to a worker, and listens. */
export async function startServe(parts: ServeParts): Promise<Serve> {
  const { runtime, clock, log, engines = ONE_ENGINE, threadsAlive = () => true } = parts;
  // What a robot needs is actions in time: an engine for reasoning alone neither adds to that nor takes.
  const acting = new Set(
    engines.filter(({ serves }) => serves.includes('act')).map(({ name }) => name),
  );
  const metrics = parts.metrics ?? serveMetrics();
  const warm = new WarmShapes({
    run: (kind, rows) => runRows(runtime, kind, rows),
    prepare: (kind, rows) => runtime.prepare(kind, rows),
    groupOf: (handle) => runtime.batchKey(handle),
    buckets: parts.buckets,
    pulledBack: runtime.pulledBack,
    onWarm: (shape) => log.info({ ...shape, ms: Math.round(shape.ms) }, 'graph warm'),
    onError: (err) => log.error({ err }, 'a graph could not be warmed'),
  });
  const queue = new ObservationQueue<Enqueued<ActRow, RowResult>>({
    maxRows: runtime.maxBatch,
    quantum: runtime.maxBatch,
    runSize: (waiting) => runSize(parts.buckets, waiting),
    ...(parts.tenantLimit === undefined ? {} : { tenantLimit: parts.tenantLimit }),
    fits: (rows) => {
      const jobs = rows.map((row) => row.job);
      const [first] = jobs;
      const shapes = jobs.map((job) => job.shape);
      return first !== undefined && warm.fits(first.kind, shapes);
    },
  });
  const capacity = new Capacity({
    engines: acting.size,
    fill: parts.admissionFill ?? 0.9,
    busyFrom: 0.7,
    windowMs: MEASURED_MS,
  });
  const dispatcher = new Dispatcher<ActRow, RowResult>({
    queue,
    engines,
    run: (kind, rows) => runRows(runtime, kind, rows),
    now: () => clock.now(),
    after: systemTimer,
    onRun: ({ kind, engine, rows, tenants, ranMs }) => {
      if (acting.has(engine)) capacity.observe({ kind, rows, ranMs, endedAt: clock.now() });
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
    ...(parts.pingEveryMs === undefined ? {} : { pingEveryMs: parts.pingEveryMs }),
    healthy: () => threadsAlive() && dispatcher.longestRunMs() < STUCK_AFTER_MS,
    verify: forWorker(parts.verify, parts.worker),
    after: systemTimer,
    openpi: parts.openpi ?? tokensOnly(parts),
    flush: (timeoutMs) => parts.ledger.flush(timeoutMs),
    clock,
    policies,
    warm,
    runtime,
    images: parts.images,
    dispatcher,
    capacity,
    ledger: parts.ledger,
    metrics,
    log,
  });
  metrics.observe({
    sessions: () => gateway.sessions,
    policies: () => policies.counts,
    waiting: () => queue.size,
    ready: () => gateway.ready,
    places: () => gateway.places,
    spool: () => parts.ledger.backlog,
  });
  return { gateway, metrics, waiting: () => queue.size };
}

function tokensOnly({
  verify,
  worker,
  log,
}: Pick<ServeParts, 'verify' | 'worker' | 'log'>): OpenpiAccess {
  return new OpenpiAccess({
    worker,
    apiUrl: undefined,
    embodimentId: undefined,
    defaultKey: undefined,
    verify,
    log,
  });
}

async function runRows(
  runtime: PolicyPort,
  kind: string,
  rows: readonly ActRow[],
): Promise<readonly RowResult[]> {
  const results = await runKind(runtime, kind, rows).catch((error: unknown) => {
    throw asObservationError(error);
  });
  if (results.length !== rows.length) {
    throw new Error(`${kind} of ${rows.length} rows gave ${results.length} results`);
  }
  return results;
}

async function runKind(
  runtime: PolicyPort,
  kind: string,
  rows: readonly ActRow[],
): Promise<RowResult[]> {
  if (kind === 'reason') {
    const made = await runtime.reason(rows);
    return made.map((reasoning) => ({ actions: undefined, reasoning }));
  }
  if (kind === 'act') {
    const made = await runtime.act(rows);
    return made.map(({ actions }) => ({ actions, reasoning: undefined }));
  }
  const made = await runtime.reasonAndAct(rows);
  return made.map(({ actions, reasoning }) => ({ actions, reasoning }));
}

/** The model's word on a row that it cannot answer is the robot's business; other failures are ours. */
function asObservationError(error: unknown): unknown {
  if (!(error instanceof PolicyError) || error.code !== 'invalid_row') return error;
  return new ArmatureError('invalid_observation', error.message, {
    ...(error.field === undefined ? {} : { field: error.field }),
    fix: 'Correct the observation and send the next one.',
    cause: error,
  });
}
