import { ArmatureError, parseClientFrame, type SessionClaims } from '@armature/sdk/contract';
import { toChunk, type Chunk } from '../../sdk/src/robot/chunk.ts';
import { Connection, type Dropped } from '../../sdk/src/robot/connection.ts';
import { ExecutionReport } from '../../sdk/src/robot/execution.ts';
import { observationFrame } from '../../sdk/src/robot/observation.ts';
import {
  runLoop,
  type Actor,
  type MeasuredDelay,
  type RunOptions,
} from '../../sdk/src/robot/run.ts';
import { StatsCounter } from '../../sdk/src/robot/stats.ts';
import type { RobotSession } from '../../workers/serve/session/index.ts';
import type { Network } from './network.ts';
import type { SimClock } from './sim-clock.ts';
import { digestOf, simSpec, type SimWorker } from './worker.ts';

type Spec = typeof simSpec;

export interface RobotOptions {
  readonly index: number;
  readonly tenant: number;
  readonly reasoning: SessionClaims['reasoning'];
  readonly maxAgeMs: number;
  /** What its clock is ahead of the worker's, ms. */
  readonly clockOffset: number;
  readonly maxInFlight: number;
  /** Whether its chunks are to go on from the one in execution. */
  readonly guided: boolean;
  readonly loop: Partial<Pick<RunOptions<Spec>, 'executeSteps'>>;
  readonly ticks: number;
  /** At which of its actions it stands still, and for how long in ms. */
  readonly sleep: { readonly at: number; readonly ms: number } | undefined;
}

/** One robot: the SDK's pairing of answers and its control loop, on a simulated link. */
export class SimRobot implements Actor<Spec> {
  readonly embodiment = simSpec;
  readonly options: RobotOptions;
  /** What should never have happened. */
  readonly violations: string[] = [];
  readonly executed: string[] = [];
  readonly dropped: Record<Dropped, number> = { late: 0, duplicate: 0, foreign: 0, invalid: 0 };
  readonly counter = new StatsCounter();
  cuts = 0;
  private readonly clock: SimClock;
  private readonly worker: SimWorker;
  private readonly up: Network;
  private readonly down: Network;
  private readonly report_ = new ExecutionReport();
  private readonly observedAt = new Map<number, number>();
  private connection: Connection | undefined;
  private session: RobotSession | undefined;
  private epoch = 0;
  private seq = 0;
  private actions = 0;
  private readonly awake = new AbortController();

  constructor(
    clock: SimClock,
    worker: SimWorker,
    links: { readonly up: Network; readonly down: Network },
    options: RobotOptions,
  ) {
    this.clock = clock;
    this.worker = worker;
    this.up = links.up;
    this.down = links.down;
    this.options = options;
  }

  get tenantId(): string {
    return `ten_${this.options.tenant}`;
  }

  get status(): string {
    return this.connection === undefined ? 'reconnecting' : 'ready';
  }

  async run(): Promise<void> {
    await this.connect();
    await runLoop(this, this.counter, {
      clock: this.clock,
      observe: () => this.observe(),
      execute: (row, { chunk, step }) => this.execute(row, chunk, step),
      onChunk: (chunk) => this.adopted(chunk),
      maxAgeMs: this.options.maxAgeMs,
      ticks: this.options.ticks,
      ...this.options.loop,
    });
    this.session?.end();
  }

  /** The link breaks, and stands again with the next epoch some time later. */
  cut(afterMs: number): void {
    const { connection, session } = this;
    if (connection === undefined) return;
    this.cuts += 1;
    this.connection = undefined;
    session?.end();
    connection.closed(1006, 'cut');
    this.clock.after(afterMs, () => void this.connect());
  }

  async act(
    observation: { readonly images: object; readonly state: Float32Array | object },
    {
      deadlineMs,
      signal,
      delay,
    }: { deadlineMs: number; signal: AbortSignal; delay?: MeasuredDelay },
  ): Promise<Chunk<Spec>> {
    const { connection } = this;
    if (connection === undefined) {
      throw new ArmatureError('unavailable', 'there is no connection');
    }
    const seq = this.seq++;
    const capturedAt = this.clock.now();
    this.observedAt.set(seq, capturedAt);
    const frame = observationFrame(
      simSpec,
      observation as Parameters<typeof observationFrame<Spec>>[1],
      {
        seq,
        capturedAt: capturedAt + this.options.clockOffset,
        executed: this.report_.forWorker((epoch) => connection.knows(epoch)),
        deadlineMs,
        delay,
        ...(this.options.guided ? { chunking: { mode: 'guided' } } : {}),
      },
    );
    const wire = await connection.request(seq, frame, deadlineMs, signal);
    if (wire.epoch !== this.epoch) this.violations.push(`a chunk of epoch ${wire.epoch}`);
    const latencyMs = this.clock.now() - capturedAt;
    this.counter.chunks += 1;
    return toChunk(simSpec, wire, { latencyMs, capturedAt });
  }

  report(chunk: Chunk<Spec>, steps: number): void {
    this.report_.reached(chunk, steps);
  }

  private async connect(): Promise<void> {
    const epoch = ++this.epoch;
    const { index, tenant, reasoning, maxInFlight } = this.options;
    const session = this.worker.connect(
      {
        sub: `ses_${index}`,
        tenant: this.tenantId,
        robot: `robot-${index}`,
        worker: 'sim',
        embodiment: { id: 'emb', spec: simSpec },
        policy: {
          version_id: `pv_${tenant}`,
          digest: digestOf(tenant),
          prefix: `tenants/${this.tenantId}/policies/x/`,
        },
        reasoning,
        epoch,
        limits: { max_in_flight: maxInFlight, max_hz: 200 },
      },
      // What an earlier session sent may still be on its way when the next one stands.
      (bytes) => this.down.send(() => this.connection?.receive(bytes)),
    );
    const welcome = await session.open();
    if (welcome?.type !== 'welcome') return;
    this.session = session;
    const socket = {
      send: (frame: Uint8Array): boolean => {
        this.up.send(() => {
          const parsed = parseClientFrame(frame);
          if (parsed.type === 'observation') session.observe(parsed);
        });
        return true;
      },
      close: () => session.end(),
    };
    const events = {
      loading: () => undefined,
      dropped: (why: Dropped) => (this.dropped[why] += 1),
      error: () => undefined,
      reasoning: () => undefined,
      drain: () => undefined,
      lost: () => undefined,
    };
    this.connection = new Connection(socket, welcome, events, this.clock);
  }

  private observe() {
    const { index, tenant } = this.options;
    return {
      images: { eye: { pixels: new Uint8Array(192).fill(index) } },
      state: Float32Array.of(index, this.actions, tenant),
      instruction: 'count',
    };
  }

  private adopted(chunk: Chunk<Spec>): void {
    const age = this.clock.now() - (this.observedAt.get(chunk.seq) ?? -Infinity);
    if (age > this.options.maxAgeMs) this.violations.push(`adopted a chunk of ${age} ms`);
  }

  private async execute(
    row: Readonly<Record<string, number>>,
    chunk: Chunk<Spec>,
    step: number,
  ): Promise<void> {
    const { index, maxAgeMs, sleep } = this.options;
    const late =
      this.clock.now() -
      (this.observedAt.get(chunk.seq) ?? -Infinity) -
      (1000 * step) / simSpec.control_hz;
    if (late > maxAgeMs) this.violations.push(`executed step ${step} ${late} ms late`);
    if (row['robot'] !== index || row['tick'] !== this.actions) {
      this.violations.push(
        `action ${this.actions} of robot ${index} was ${String(row['tick'])} of robot ${String(row['robot'])}, step ${step}`,
      );
    }
    this.actions += 1;
    this.executed.push(chunk.chunkId);
    if (this.actions === sleep?.at) await this.clock.sleep(sleep.ms, this.awake.signal);
  }
}
