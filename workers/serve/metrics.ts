import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ErrorCode } from '@armature/sdk/contract';
import { LoopLag } from './loop-lag.ts';

const SECONDS = [
  0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2,
  0.3, 0.5, 1, 2, 5,
];
const ROWS = [1, 2, 4, 8, 16, 32, 64];

/** What is read when the metrics are asked for. */
export interface MetricSources {
  readonly sessions: () => number;
  readonly policies: () => { readonly held: number; readonly pinned: number };
  readonly waiting: () => number;
  readonly ready: () => boolean;
  /** What has not reached the database. */
  readonly spool: () => { readonly bytes: number; readonly ageMs: number };
  /** Places by state. */
  readonly places: () => Readonly<Record<string, number>>;
}

export type ServeMetrics = ReturnType<typeof serveMetrics>;

/** The worker's metrics, in seconds and bytes, without labels that grow with tenants or robots. */
export function serveMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const histogram = (name: string, help: string, buckets: number[] = SECONDS) =>
    new Histogram({ name, help, buckets, registers });
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  const lag = new LoopLag();

  return {
    registry,
    lag,
    chunkE2e: histogram('chunk_e2e_seconds', 'From an observation arriving to its chunk leaving.'),
    chunkOverhead: histogram(
      'chunk_overhead_seconds',
      'From an observation arriving to its chunk leaving, less the time its run took.',
    ),
    decode: histogram('chunk_decode_seconds', 'Decoding and pre-processing of pictures.'),
    queue: histogram('chunk_queue_seconds', 'Waiting for an engine.'),
    run: new Histogram({
      name: 'engine_run_seconds',
      help: 'One run of an engine.',
      buckets: SECONDS,
      labelNames: ['kind'] as const,
      registers,
    }),
    batchRows: histogram('batch_rows', 'Rows of a run.', ROWS),
    batchTenants: histogram('batch_tenants', 'Tenants of a run.', ROWS),
    engineBusy: new Counter({
      name: 'engine_busy_seconds_total',
      help: 'Time that an engine was running.',
      labelNames: ['engine'] as const,
      registers,
    }),
    chunks: counter('chunks_total', 'Chunks sent.'),
    actions: counter('actions_total', 'Actions sent.'),
    clamped: counter('clamped_values_total', 'Action values that limits changed.'),
    observations: counter('observations_total', 'Observations received.'),
    refused: new Counter({
      name: 'error_frames_total',
      help: 'Error frames sent, by code.',
      labelNames: ['code'] as const,
      registers,
    }),
    late: new Counter({
      name: 'chunk_late_total',
      help: 'Observations that were not answered in time, by where the time went.',
      labelNames: ['reason'] as const,
      registers,
    }),
    replaced: counter('observations_replaced_total', 'Observations that a newer one replaced.'),
    delaySteps: histogram(
      'robot_delay_steps',
      'Steps that robots executed between an observation and its chunk, as they measured.',
      [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64],
    ),
    reasoningTokens: counter('reasoning_tokens_total', 'Tokens of reasonings made.'),
    reasoningAge: histogram('reasoning_age_seconds', 'Age of the reasoning in a chunk.'),
    policyLoad: histogram('policy_load_seconds', 'Fetching, loading and warming of a version.'),
    sessionsOpened: counter('sessions_opened_total', 'Sessions welcomed.'),
    sessionsReplaced: counter(
      'sessions_replaced_total',
      'Connections that a later epoch of their session took the place of.',
    ),
    sessionsClosed: new Counter({
      name: 'session_closed_total',
      help: 'Sessions ended, by close code.',
      labelNames: ['code'] as const,
      registers,
    }),
    upgradesRefused: new Counter({
      name: 'upgrades_refused_total',
      help: 'Connections refused, by code.',
      labelNames: ['code'] as const,
      registers,
    }),
    loopLate: counter(
      'event_loop_late_seconds_total',
      'Time, by the second, in which the event loop was late by more than 10 ms.',
    ),
    flushed: counter('ledger_flushed_total', 'Usage events and reasoning records written.'),
    countError(code: ErrorCode): void {
      this.refused.inc({ code });
    },
    /** Adds what is read at the moment of asking. */
    observe(sources: MetricSources): void {
      const gauge = (name: string, help: string, read: () => number) =>
        new Gauge({
          name,
          help,
          registers,
          collect() {
            this.set(read());
          },
        });
      gauge('sessions', 'Sessions connected.', sources.sessions);
      gauge('observations_waiting', 'Observations waiting for an engine.', sources.waiting);
      gauge('policies_held', 'Policy versions loaded.', () => sources.policies().held);
      gauge(
        'policies_pinned',
        'Policy versions that sessions hold.',
        () => sources.policies().pinned,
      );
      gauge('spool_bytes', 'Records that wait for the database.', () => sources.spool().bytes);
      gauge(
        'spool_age_seconds',
        'How long the oldest record has waited for the database.',
        () => sources.spool().ageMs / 1000,
      );
      new Gauge({
        name: 'allocations',
        help: 'Places for sessions, by state.',
        labelNames: ['state'] as const,
        registers,
        collect() {
          for (const [state, count] of Object.entries(sources.places())) this.set({ state }, count);
        },
      });
      gauge('worker_ready', '1 while new sessions are taken.', () => (sources.ready() ? 1 : 0));
      gauge('rss_bytes', 'Resident memory of the process.', () => process.memoryUsage.rss());
      gauge('heap_bytes', 'JavaScript heap in use.', () => process.memoryUsage().heapUsed);
      new Gauge({
        name: 'event_loop_lag_seconds',
        help: 'How late the event loop came to its timers since the last reading.',
        labelNames: ['quantile'] as const,
        registers,
        collect() {
          for (const q of [0.5, 0.9, 0.99])
            this.set({ quantile: String(q) }, lag.quantile(q) / 1000);
          this.set({ quantile: '1' }, lag.max() / 1000);
          lag.reset();
        },
      });
    },
  };
}
