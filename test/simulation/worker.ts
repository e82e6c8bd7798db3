import { encodeFrame, type ServerFrame, type SessionClaims } from '@armature/sdk/contract';
import { serveMetrics } from '../../workers/serve/metrics.ts';
import type { LedgerEntry } from '../../workers/serve/ledger/index.ts';
import {
  PolicyRegistry,
  type ActRow,
  type PolicyHandle,
  type PolicyManifest,
} from '../../workers/serve/policies/index.ts';
import {
  Capacity,
  Dispatcher,
  type EngineLane,
  ObservationQueue,
  type Enqueued,
} from '../../workers/serve/scheduler/index.ts';
import {
  RobotSession,
  type RowResult,
  type SessionDeps,
} from '../../workers/serve/session/index.ts';
import type { Random } from './random.ts';
import type { SimClock } from './sim-clock.ts';

/** Time of a run in ms: a part that every run costs and one a row, as measured engines have it. */
export interface EngineCosts {
  readonly runMs: number;
  readonly rowMs: number;
  /** Share of runs that take `stallMs` longer. */
  readonly stall: number;
  readonly stallMs: number;
}

export interface WorkerOptions {
  readonly engines: number;
  /** Whether reasonings are renewed by an engine of their own. */
  readonly apart: boolean;
  readonly maxRows: number;
  readonly tenantLimit: number;
  readonly costs: EngineCosts;
  /** Time to decode an observation's pictures, ms. */
  readonly decodeMs: number;
}

/** How many runs' worth a kind costs. */
const KINDS: Readonly<Record<string, number>> = { act: 1, reason: 1.5, reason_and_act: 2 };

const metrics = serveMetrics();
metrics.lag.stop();
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/**
 * The serve worker's sessions, queue and dispatcher with a model whose answer says whom it is for:
 * the state is [robot, tick, tenant], every action [robot, tick + step].
 */
export class SimWorker {
  /** What should never have happened. */
  readonly violations: string[] = [];
  readonly usage: Extract<LedgerEntry, { kind: 'usage' }>[] = [];
  readonly sent: string[] = [];
  /** Rows that were to go on from the chunk in execution. */
  guided = 0;
  /** Longest run so far, ms. */
  longestRun = 0;
  /** Longest wait of a sent chunk for an engine by tenant, ms. */
  readonly longestWait = new Map<string, number>();
  private readonly deps: SessionDeps;

  constructor(clock: SimClock, random: Random, options: WorkerOptions) {
    const spent = new Map<string, number>();
    const queue = new ObservationQueue<Enqueued<ActRow, RowResult>>({
      maxRows: options.maxRows,
      quantum: options.maxRows,
      tenantLimit: options.tenantLimit,
    });
    const run = async (kind: string, rows: readonly ActRow[]): Promise<RowResult[]> => {
      const { runMs, rowMs, stall, stallMs } = options.costs;
      const cost =
        (runMs + rowMs * rows.length) * (KINDS[kind] ?? 1) + (random.chance(stall) ? stallMs : 0);
      this.longestRun = Math.max(this.longestRun, cost);
      if (rows.length > options.maxRows) this.violations.push(`${rows.length} rows in one run`);
      await clock.sleep(cost);
      return rows.map((row) => this.compute(kind, row));
    };
    this.deps = {
      worker: 'sim',
      clock: { now: () => clock.now(), wall: () => 1_700_000_000_000 + clock.now() },
      policies: new PolicyRegistry({
        runtime: {
          load: async ({ digest, manifest }) => ({ digest, manifest }) as unknown as PolicyHandle,
          unload: async () => undefined,
        },
        fetch: async ({ digest }) => ({ manifest: manifestOf(digest), files: {} }),
        capacity: 64,
        onError: (error) => this.violations.push(String(error)),
      }),
      warm: { admit: async () => () => undefined },
      runtime: { batchKey: () => 'trunk', pulledBack: false },
      images: {
        prepare: async (images) => {
          await clock.sleep(options.decodeMs);
          return Object.fromEntries(
            Object.entries(images).map(([camera, image]) => [
              camera,
              'pixels' in image ? image.pixels.data.slice() : image.jpeg,
            ]),
          );
        },
      },
      dispatcher: new Dispatcher<ActRow, RowResult>({
        queue,
        engines: enginesOf(options),
        run,
        now: () => clock.now(),
        onError: (error) => this.violations.push(String(error)),
      }),
      capacity: new Capacity({
        engines: options.engines,
        fill: Infinity,
        busyFrom: 1,
        windowMs: 1000,
      }),
      ledger: {
        append: async (entries) => {
          for (const entry of entries) if (entry.kind === 'usage') this.usage.push(entry);
        },
        epochs: {
          spend: (session: string, epoch: number) => spent.set(session, epoch),
          highestSpent: (session: string) => spent.get(session),
        } as unknown as SessionDeps['ledger']['epochs'],
      },
      metrics,
      log,
    };
  }

  /** A session whose frames go to `deliver` as bytes. */
  connect(claims: SessionClaims, deliver: (bytes: Uint8Array) => void): RobotSession {
    const send = (frame: ServerFrame): void => {
      if (frame.type === 'chunk') {
        this.sent.push(frame.chunk_id);
        const before = this.longestWait.get(claims.tenant) ?? 0;
        this.longestWait.set(claims.tenant, Math.max(before, frame.timings.queue_ms));
      }
      if (frame.type === 'error' && frame.code === 'internal') this.violations.push(frame.message);
      deliver(encodeFrame(frame));
    };
    return new RobotSession(claims, this.deps, { send, offer: (chunk) => chunk.send() });
  }

  /** What is left of the chunk in execution begins with the action of the observation's own tick. */
  private checkPrevious({ state, previous }: ActRow): void {
    if (previous === undefined) return;
    const [robot = NaN, tick = NaN] = state;
    this.guided += 1;
    const wrong = previous.actions.findIndex(
      (value, i) => value !== (i % 2 === 0 ? robot : tick + Math.floor(i / 2)),
    );
    if (wrong < 0 && previous.delay >= 0) return;
    const found = previous.actions.slice(0, 4).join();
    this.violations.push(`robot ${robot} at ${tick} was to go on from ${found}`);
  }

  private compute(kind: string, row: ActRow): RowResult {
    const [robot = NaN, tick = NaN, tenant = NaN] = row.state;
    const picture = row.images['eye']?.[0];
    const { digest } = row.policy as unknown as { digest: string };
    if (picture !== robot || digest !== digestOf(tenant)) {
      this.violations.push(`robot ${robot} of ${tenant} ran with ${String(picture)} and ${digest}`);
    }
    const actions = Float32Array.from({ length: 16 }, (_, i) =>
      i % 2 === 0 ? robot : tick + Math.floor(i / 2),
    );
    const reasoning = { text: `${robot}`, tokens: 1, embedding: Float32Array.of(robot) };
    if (row.reasoning !== undefined && row.reasoning.text !== `${robot}`) {
      this.violations.push(`robot ${robot} was driven by the reasoning of ${row.reasoning.text}`);
    }
    this.checkPrevious(row);
    return {
      actions: kind === 'reason' ? undefined : actions,
      reasoning: kind === 'act' ? undefined : reasoning,
    };
  }
}

function enginesOf({ engines, apart }: WorkerOptions): EngineLane[] {
  const acting = Array.from({ length: engines }, (_, i) => ({
    name: `engine-${i}`,
    serves: apart ? (['act'] as const) : (['act', 'reason'] as const),
  }));
  return apart ? [...acting, { name: 'reason', serves: ['reason'] }] : acting;
}

export const simSpec: SessionClaims['embodiment']['spec'] = {
  name: 'counter',
  control_hz: 20,
  horizon: 8,
  state: ['robot', 'tick', 'tenant'].map((name) => ({ name, unit: 'count' })),
  action: ['robot', 'tick'].map((name) => ({
    name,
    unit: 'count',
    group: 'all',
    min: -1e6,
    max: 1e6,
  })),
  references: { all: 'absolute' },
  cameras: [{ name: 'eye', kind: 'external', width: 8, height: 8 }],
  on_violation: 'clamp',
  when_starved: 'hold',
};

export function digestOf(tenant: number): string {
  return `policy of ${tenant}`;
}

function manifestOf(digest: string): PolicyManifest {
  return {
    name: digest,
    spec: simSpec,
    preprocess_hash: 'p',
    stats_hash: 's',
    image: { width: 8, height: 8 },
    sampler: { steps: 1, noise_scale: 0 },
    files: {},
  } as unknown as PolicyManifest;
}
