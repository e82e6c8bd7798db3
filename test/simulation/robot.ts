import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';
import type { Chunk } from '../../sdk/src/robot/chunk.ts';
import type { RobotPorts } from '../../sdk/src/robot/ports.ts';
import { runLoop, type Actor, type RunOptions } from '../../sdk/src/robot/run.ts';
import { RobotSession } from '../../sdk/src/robot/session.ts';
import type { SocketEvents, SocketTarget } from '../../sdk/src/robot/socket.ts';
import { StatsCounter, type RobotStats } from '../../sdk/src/robot/stats.ts';
import type { SimControlPlane } from './control-plane.ts';
import type { Network } from './network.ts';
import type { Random } from './random.ts';
import type { SimClock } from './sim-clock.ts';
import { Wire } from './wire.ts';
import { digestOf, simSpec } from './worker.ts';

type Spec = typeof simSpec;

export interface RobotOptions {
  readonly index: number;
  readonly tenant: number;
  /** Weight of its tenant. */
  readonly share: number;
  readonly reasoning: SessionClaims['reasoning'];
  readonly maxAgeMs: number;
  /** What its clock is ahead of the worker's, ms. */
  readonly clockOffset: number;
  /** Whether it says by its wall clock when it looked, in place of the SDK. */
  readonly tellsCapture: boolean;
  readonly maxInFlight: number;
  /** Whether its chunks are to go on from the one in execution. */
  readonly guided: boolean;
  readonly loop: Partial<Pick<RunOptions<Spec>, 'executeSteps'>>;
  readonly ticks: number;
  /** At which of its actions it stands still, and for how long in ms. */
  readonly sleep: { readonly at: number; readonly ms: number } | undefined;
}

/** Waits between attempts to reconnect, ms. */
export const RECONNECT = { baseMs: 50, maxMs: 400, giveUpAfterMs: 60_000 } as const;
const DIAL_MS = 3_000;

/** One robot: the SDK's session, which keeps its connection, and its control loop on a simulated link. */
export class SimRobot {
  readonly options: RobotOptions;
  /** What should never have happened. */
  readonly violations: string[] = [];
  readonly executed: string[] = [];
  /** Chunks that its loop was handed, with their number of steps, and those that became its plan. */
  readonly handed = new Map<string, number>();
  readonly planned = new Set<string>();
  /** Chunks that reached one of its sockets, and copies of them; chunks that the network lost. */
  readonly reached = new Set<string>();
  arrived = 0;
  readonly lost = new Set<string>();
  /** Refusals that reached it. */
  refusals = 0;
  /** `seq` of the last chunk that it asked for. */
  lastAsked = -1;
  /** Errors that its session told of, by code. */
  readonly told: string[] = [];
  /** Of its control loop. */
  readonly counter = new StatsCounter();
  cuts = 0;
  /** Times that its path went dark. */
  darks = 0;
  /** Times that it was without a connection. */
  without = 0;
  /** The highest epoch that an action was executed of, and when. */
  executing = { epoch: -1, at: 0 };
  finished = false;
  private readonly clock: SimClock;
  private readonly random: Random;
  private readonly cloud: SimControlPlane;
  private readonly up: Network;
  private readonly down: Network;
  private readonly observedAt = new Map<number, number>();
  private session: RobotSession<Spec> | undefined;
  private readonly wires: { readonly wire: Wire; readonly events: SocketEvents }[] = [];
  private awayUntil = 0;
  /** What its wall clock was set by since it started, ms. */
  private stepped = 0;
  private adoptedEpoch = -1;
  private actions = 0;
  private readonly awake = new AbortController();

  constructor(
    clock: SimClock,
    random: Random,
    cloud: SimControlPlane,
    links: { readonly up: Network; readonly down: Network },
    options: RobotOptions,
  ) {
    this.clock = clock;
    this.random = random;
    this.cloud = cloud;
    this.up = links.up;
    this.down = links.down;
    this.options = options;
  }

  get id(): string {
    return `ses_${this.options.index}`;
  }

  get tenantId(): string {
    return `ten_${this.options.tenant}`;
  }

  /** Of its session: connections, tokens and what was dropped. */
  get stats(): RobotStats {
    if (this.session === undefined) throw new Error('the robot has not connected');
    return this.session.stats;
  }

  /** Id of the worker that it is connected to. */
  get at(): string | undefined {
    return this.session?.status === 'ready' ? this.session.welcome.worker : undefined;
  }

  /** Epoch of the connection in use; -1 without one. */
  get epoch(): number {
    return this.session?.status === 'ready' ? this.session.welcome.epoch : -1;
  }

  async run(): Promise<void> {
    const { clock, cloud, options } = this;
    const session = await RobotSession.open({
      embodiment: simSpec,
      grant: cloud.create(this.claims()),
      resume: (wishes) => cloud.resume(this.id, wishes),
      end: async () => cloud.end(this.id),
      connectTimeoutMs: DIAL_MS,
      loadingTimeoutMs: 10_000,
      requestTimeoutMs: 10_000,
      reconnect: RECONNECT,
      chunking: options.guided ? { mode: 'guided' } : undefined,
      onReasoning: undefined,
      onStatus: (status) => (this.without += status === 'reconnecting' ? 1 : 0),
      onError: ({ code }) => this.told.push(code),
      ports: this.ports(),
    });
    this.session = session;
    await runLoop(this.actor(session), this.counter, {
      clock,
      observe: () => this.observe(),
      execute: (row, { chunk, step }) => this.execute(row, chunk, step),
      onChunk: (chunk) => this.adopted(chunk),
      onError: ({ code }) => this.told.push(code),
      maxAgeMs: options.maxAgeMs,
      ticks: options.ticks,
      ...options.loop,
    });
    this.finished = true;
    await session.close();
  }

  /** The link breaks, and nothing gets through for some time. */
  cut(afterMs: number): void {
    const open = this.wires.filter(({ wire }) => wire.isOpen);
    if (open.length === 0) return;
    this.cuts += open.length;
    this.awayUntil = this.clock.now() + afterMs;
    for (const { wire } of open) wire.cut();
  }

  /** Nothing passes on its connection any more, and nobody is told; another would do. */
  goDark(): void {
    const open = this.wires.filter(({ wire }) => wire.isOpen);
    this.darks += open.length;
    for (const { wire } of open) wire.goDark();
  }

  /** Its wall clock is set. */
  stepClock(ms: number): void {
    this.stepped += ms;
  }

  private claims() {
    const { index, tenant, share, reasoning, maxInFlight } = this.options;
    return {
      sub: this.id,
      tenant: this.tenantId,
      robot: `robot-${index}`,
      embodiment: { id: 'emb', spec: simSpec },
      policy: {
        version_id: `pv_${tenant}`,
        digest: digestOf(tenant),
        prefix: `tenants/${this.tenantId}/policies/x/`,
      },
      reasoning,
      limits: { max_in_flight: maxInFlight, max_hz: 200, share },
    };
  }

  private ports(): RobotPorts {
    return {
      clock: this.clock,
      wall: () => this.wall(),
      random: () => this.random.next(),
      openSocket: async (target, events) => (await this.dial(target, events)).socket,
    };
  }

  private async dial({ url, token }: SocketTarget, events: SocketEvents): Promise<Wire> {
    const worker = this.cloud.workers.find((one) => one.url === url);
    if (worker === undefined) throw new Error(`nobody is at ${url}`);
    await this.passes(this.up);
    const wire = new Wire({
      clock: this.clock,
      up: this.up,
      down: this.down,
      events,
      onSent: (end, frame) => worker.onSent(this.id, end, frame),
      // What an earlier connection was sent may still be on its way when the next one stands.
      stray: (bytes) => {
        const open = this.wires.findLast((one) => one.wire.isOpen);
        open?.events.message(bytes);
        return open !== undefined;
      },
      onReached: (id) => {
        this.reached.add(id);
        this.arrived += 1;
      },
      onRefusal: () => (this.refusals += 1),
      onLost: (id) => this.lost.add(id),
    });
    await worker.upgrade(token, wire);
    this.wires.push({ wire, events });
    try {
      await this.passes(this.down);
    } catch (error) {
      // Whoever dialled hears nothing, and lets go of it.
      wire.cut();
      throw error;
    }
    if (!wire.isOpen) throw new ArmatureError('unavailable', 'the link broke');
    wire.dialled();
    return wire;
  }

  /** One way, of what is not sent again by anybody. */
  private async passes(network: Network): Promise<void> {
    if (this.clock.now() < this.awayUntil) {
      throw new ArmatureError('unavailable', 'the network is away');
    }
    await new Promise<void>((resolve) => network.sendInOrder(resolve));
  }

  /** The session, with every chunk's observation timed by the call that it answers. */
  private actor(session: RobotSession<Spec>): Actor<Spec> {
    return {
      embodiment: simSpec,
      get status() {
        return session.status;
      },
      act: async (observation, options) => {
        const observedAt = this.clock.now();
        this.lastAsked += 1;
        const chunk = await session.act(observation, options);
        this.observedAt.set(chunk.seq, observedAt);
        this.handed.set(chunk.chunkId, chunk.rows.length);
        return chunk;
      },
      report: (chunk, steps, command) => session.report(chunk, steps, command),
    };
  }

  private wall(): number {
    return this.clock.wall() + this.options.clockOffset + this.stepped;
  }

  private observe() {
    const { index, tenant, tellsCapture } = this.options;
    return {
      ...(tellsCapture ? { capturedAt: this.wall() } : {}),
      images: { eye: { pixels: new Uint8Array(192).fill(index) } },
      state: Float32Array.of(index, this.actions, tenant),
      instruction: 'count',
    };
  }

  private adopted(chunk: Chunk<Spec>): void {
    const age = this.clock.now() - (this.observedAt.get(chunk.seq) ?? -Infinity);
    this.planned.add(chunk.chunkId);
    if (age > this.options.maxAgeMs) this.violations.push(`adopted a chunk of ${age} ms`);
    if (chunk.epoch < this.adoptedEpoch) {
      this.violations.push(`a chunk of epoch ${chunk.epoch} after one of ${this.adoptedEpoch}`);
    }
    this.adoptedEpoch = chunk.epoch;
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
    this.executing = { epoch: Math.max(this.executing.epoch, chunk.epoch), at: this.clock.now() };
    if (this.actions === sleep?.at) await this.clock.sleep(sleep.ms, this.awake.signal);
  }
}
