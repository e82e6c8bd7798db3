import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';
import { Allocations } from '../../workers/serve/gateway/allocations.ts';
import { Connection, type ConnectionDeps } from '../../workers/serve/gateway/connection.ts';
import { SessionTable } from '../../workers/serve/gateway/session-table.ts';
import { forWorker, type TokenVerifier } from '../../workers/serve/gateway/session-token.ts';
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
import type { RowResult, SessionDeps } from '../../workers/serve/session/index.ts';
import type { Random } from './random.ts';
import { ScheduleWatch } from './schedule-watch.ts';
import type { SimClock } from './sim-clock.ts';
import { CLOSED, type SeenFrame, type Wire, type WorkerEnd } from './wire.ts';

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
  /** How long robots have to go when it drains, ms. */
  readonly graceMs: number;
}

/** Sessions that a worker has room for. */
const PLACES = 32;
/** Until the control plane knows of a drain, ms. */
const DRAIN_TOLD_MS = 50;

/** How many runs' worth a kind costs. */
const KINDS: Readonly<Record<string, number>> = { act: 1, reason: 1.5, reason_and_act: 2 };

const metrics = serveMetrics();
metrics.lag.stop();
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

/**
 * The serve worker's connections, sessions, queue and dispatcher with a model whose answer says whom it
 * is for: the state is [robot, tick, tenant], every action [robot, tick + step]. Only its listening
 * socket is not the worker's own.
 */
export class SimWorker {
  /** What should never have happened. */
  readonly violations: string[] = [];
  readonly usage: Extract<LedgerEntry, { kind: 'usage' }>[] = [];
  readonly sent: string[] = [];
  /** Rows that were to go on from the chunk in execution. */
  guided = 0;
  /** What its scheduler was given and ran. */
  readonly watch: ScheduleWatch;
  readonly id: string;
  readonly url: string;
  /** Connections that a later epoch of their session took the place of. */
  replaced = 0;
  private readonly clock: SimClock;
  private readonly options: WorkerOptions;
  private readonly deps: ConnectionDeps;
  private readonly table: SessionTable;
  private places = new Allocations(PLACES);
  private readonly wires = new Map<WorkerEnd, Wire>();
  /** The connection of each session that was opened last, and the highest epoch that was served. */
  private readonly latest = new Map<
    string,
    { readonly end: WorkerEnd; readonly opening: number; epoch: number }
  >();
  /** What the token of each session allows. */
  private readonly limits = new Map<string, SessionClaims['limits']>();
  private state: 'up' | 'draining' | 'dead' = 'up';
  private changedAt = -Infinity;
  private silentUntil = -Infinity;
  /** What its wall clock was set by, ms. */
  private stepped = 0;

  constructor(
    id: string,
    clock: SimClock,
    random: Random,
    options: WorkerOptions,
    verify: TokenVerifier,
  ) {
    this.id = id;
    this.url = `ws://${id}/v1/robot`;
    this.clock = clock;
    this.options = options;
    const spent = new Map<string, number>();
    this.watch = new ScheduleWatch({
      maxRows: options.maxRows,
      quantum: options.maxRows,
      tenantLimit: options.tenantLimit,
      limits: (session) => this.limitsOf(session),
    });
    const queue = new ObservationQueue<Enqueued<ActRow, RowResult>>({
      maxRows: options.maxRows,
      quantum: options.maxRows,
      tenantLimit: options.tenantLimit,
    });
    const run = async (kind: string, rows: readonly ActRow[]): Promise<RowResult[]> => {
      const { runMs, rowMs, stall, stallMs } = options.costs;
      const cost =
        (runMs + rowMs * rows.length) * (KINDS[kind] ?? 1) + (random.chance(stall) ? stallMs : 0);
      const watched = this.watch.started();
      if (rows.length > options.maxRows) this.violations.push(`${rows.length} rows in one run`);
      await clock.sleep(cost);
      this.watch.ended(watched);
      return rows.map((row) => this.compute(kind, row));
    };
    this.deps = {
      worker: id,
      clock: { now: () => clock.now(), wall: () => clock.wall() + this.stepped },
      verify: forWorker(verify, id),
      after: (ms, call) => clock.after(ms, call),
      flush: async () => true,
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
      runtime: { batchKey: () => 'trunk', pulledBack: false, refusalOf: () => undefined },
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
      dispatcher: new WatchedDispatcher(this.watch, {
        queue,
        engines: enginesOf(options),
        run,
        now: () => clock.now(),
        after: (ms, call) => clock.after(ms, call),
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
          for (const entry of entries) if (entry.kind === 'usage') this.meter(entry);
        },
        refusal: () => undefined,
        epochs: {
          spend: (session: string, epoch: number) => spent.set(session, epoch),
          highestSpent: (session: string) => spent.get(session),
        } as unknown as SessionDeps['ledger']['epochs'],
      },
      metrics,
      log,
    };
    this.table = new SessionTable({
      highestSpent: (session) => spent.get(session),
      hasEnded: () => false,
      onReplaced: () => (this.replaced += 1),
    });
  }

  get sessions(): number {
    return this.table.size;
  }

  get isUp(): boolean {
    return this.state === 'up';
  }

  /**
   * Whether the control plane takes it for ready: a worker that drains says so, one that died is missed
   * once its last heartbeat is `freshMs` old.
   */
  seemsReady(freshMs: number): boolean {
    const since = this.clock.now() - this.changedAt;
    if (this.state === 'up') return this.clock.now() >= this.silentUntil;
    return since < (this.state === 'draining' ? DRAIN_TOLD_MS : freshMs);
  }

  /** Serves, but cannot tell the control plane for so long. */
  goSilent(ms: number): void {
    this.silentUntil = this.clock.now() + ms;
  }

  /** The highest epoch of a session that a connection was welcomed with here, or served in. */
  highestEpoch(session: string): number {
    return this.latest.get(session)?.epoch ?? -1;
  }

  /**
   * Opens a connection as the gateway does.
   * @throws ArmatureError as it refuses.
   */
  async upgrade(token: string, wire: Wire): Promise<void> {
    this.assertOpen();
    const verified = await this.deps.verify(token);
    this.assertOpen();
    const { claims } = verified;
    this.table.assertCurrent(claims);
    const place = this.places.take(claims, this.clock.now());
    const { end } = wire;
    const connection = new Connection(end.asWebSocket, verified, this.deps, () => {
      this.table.remove(connection);
      this.places.release(place);
      this.wires.delete(end);
    });
    this.table.add(connection);
    this.wires.set(end, wire);
    this.limits.set(claims.sub, claims.limits);
    this.latest.set(claims.sub, {
      end,
      opening: claims.epoch,
      epoch: this.highestEpoch(claims.sub),
    });
  }

  /** Its wall clock is set. */
  stepClock(ms: number): void {
    this.stepped += ms;
  }

  /** Tells its robots to go, and closes what is left after its time of grace. */
  drain(): void {
    if (this.state !== 'up') return;
    this.turn('draining');
    this.places.drain();
    for (const connection of this.table.all()) connection.drain('the worker is stopping');
    this.clock.after(this.options.graceMs, () => {
      for (const connection of this.table.all()) connection.close(1012, 'the worker restarts');
    });
  }

  /** The process is gone; what it had opened is on its disk. */
  die(): void {
    this.turn('dead');
    for (const wire of [...this.wires.values()]) wire.died();
  }

  /** Another process takes its place, with the same disk. */
  restart(): void {
    this.places = new Allocations(PLACES);
    this.turn('up');
  }

  /** A frame leaves on a connection. */
  onSent(session: string, end: WorkerEnd, frame: SeenFrame): void {
    const latest = this.latest.get(session);
    if (frame.type === 'error' && frame.code === 'internal') {
      this.violations.push(String(frame.message));
    }
    if (frame.type !== 'welcome' && frame.type !== 'chunk') return;
    if (latest?.end !== end) {
      this.violations.push(`${session} was served on a connection that another took the place of`);
      return;
    }
    const epoch = frame.epoch ?? latest.opening;
    if (frame.type === 'welcome' && epoch <= latest.epoch) {
      this.violations.push(`epoch ${epoch} of ${session} was opened again`);
    }
    latest.epoch = Math.max(latest.epoch, epoch);
    if (frame.type === 'chunk') this.sent.push(frame.chunk_id ?? '');
  }

  private meter(entry: Extract<LedgerEntry, { kind: 'usage' }>): void {
    this.usage.push(entry);
    if (this.latest.get(entry.session_id)?.end.readyState !== CLOSED) return;
    this.violations.push(`${entry.id} was metered after its connection had ended`);
  }

  /** What the token of a session allows, by its name in the queue. */
  private limitsOf(key: string): SessionClaims['limits'] {
    const limits = this.limits.get(key.slice(0, key.lastIndexOf(':')));
    if (limits === undefined) throw new Error(`nobody is served as ${key}`);
    return limits;
  }

  private turn(state: 'up' | 'draining' | 'dead'): void {
    this.state = state;
    this.changedAt = this.clock.now();
  }

  private assertOpen(): void {
    if (this.state === 'up') return;
    throw new ArmatureError('unavailable', 'this worker takes no new sessions');
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

/** Shows every row on its way to `ScheduleWatch`. */
class WatchedDispatcher extends Dispatcher<ActRow, RowResult> {
  private readonly books: ScheduleWatch;

  constructor(
    books: ScheduleWatch,
    options: ConstructorParameters<typeof Dispatcher<ActRow, RowResult>>[0],
  ) {
    super(options);
    this.books = books;
  }

  override submit(row: Parameters<Dispatcher<ActRow, RowResult>['submit']>[0]): void {
    const { books } = this;
    books.offered(row);
    super.submit({
      ...row,
      job: {
        ...row.job,
        row: () => {
          books.begun(row);
          return row.job.row();
        },
        dropped: (reason) => {
          books.dropped(row, reason);
          row.job.dropped(reason);
        },
      },
    });
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
