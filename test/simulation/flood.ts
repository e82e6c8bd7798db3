import { encodeFrame, Ndarray } from '@armature/sdk/contract';
import type { SimControlPlane } from './control-plane.ts';
import { Network } from './network.ts';
import type { Random } from './random.ts';
import type { SimClock } from './sim-clock.ts';
import { Wire } from './wire.ts';
import { digestOf, simSpec } from './worker.ts';

export interface FlooderOptions {
  readonly index: number;
  readonly tenant: number;
  /** Weight of its tenant. */
  readonly share: number;
  /** Observations a second that it may send, and does. */
  readonly maxHz: number;
  readonly maxInFlight: number;
  /** A short one is ahead of everybody else's in every queue that goes by deadline alone. */
  readonly deadlineMs: number;
  readonly forMs: number;
}

/** A client that speaks no SDK: asks as often as its token allows, whatever is answered. */
export class Flooder {
  asked = 0;
  private readonly clock: SimClock;
  private readonly random: Random;
  private readonly cloud: SimControlPlane;
  private readonly options: FlooderOptions;

  constructor(clock: SimClock, random: Random, cloud: SimControlPlane, options: FlooderOptions) {
    this.clock = clock;
    this.random = random;
    this.cloud = cloud;
    this.options = options;
  }

  get id(): string {
    return `ses_${this.options.index}`;
  }

  get tenantId(): string {
    return `ten_${this.options.tenant}`;
  }

  /** @throws ArmatureError as the worker refuses its connection. */
  async run(): Promise<void> {
    const { clock, random, options } = this;
    const { maxHz, forMs } = options;
    await clock.sleep(random.between(0, 1000 / maxHz));
    const wire = await this.connect();
    for (; this.asked < (forMs * maxHz) / 1000; this.asked += 1) {
      wire.socket.send(this.observation(this.asked));
      await clock.sleep(1000 / maxHz);
    }
    wire.socket.close(1000, 'enough');
  }

  private async connect(): Promise<Wire> {
    const { id, clock, random, cloud, options } = this;
    const { index, tenant, share, maxHz, maxInFlight } = options;
    const { url, token } = cloud.create({
      sub: id,
      tenant: this.tenantId,
      robot: `flooder-${index}`,
      embodiment: { id: 'emb', spec: simSpec },
      policy: { version_id: `pv_${tenant}`, digest: digestOf(tenant), prefix: `of ${tenant}/` },
      reasoning: { when: 'off' },
      limits: { max_in_flight: maxInFlight, max_hz: maxHz, share },
    });
    const worker = cloud.workers.find((one) => one.url === url);
    if (worker === undefined) throw new Error(`nobody is at ${url}`);
    const calm = { delayMs: 5, jitterMs: 2, loss: 0, doubled: 0, stall: 0, stallMs: 0 };
    const wire = new Wire({
      clock,
      up: new Network(clock, random, calm),
      down: new Network(clock, random, calm),
      events: { message: () => undefined, close: () => undefined },
      onSent: (end, frame) => worker.onSent(id, end, frame),
      stray: () => false,
    });
    await worker.upgrade(token, wire);
    return wire;
  }

  private observation(seq: number): Uint8Array {
    const { index, tenant, deadlineMs } = this.options;
    return encodeFrame({
      type: 'observation',
      seq,
      captured_at: this.clock.wall(),
      images: { eye: { pixels: Ndarray.uint8(new Uint8Array(192).fill(index), [8, 8, 3]) } },
      state: Ndarray.float32(Float32Array.of(index, seq, tenant)),
      instruction: 'count',
      deadline_ms: deadlineMs,
    });
  }
}
