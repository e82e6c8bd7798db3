import {
  announceUrl,
  ArmatureError,
  type SessionClaims,
  type SessionGrant,
} from '@armature/sdk/contract';
import type { ResumeWishes } from '../../sdk/src/robot/link.ts';
import type { VerifiedToken } from '../../workers/serve/gateway/session-token.ts';
import { sessionOf } from '../../workers/serve/testing/grant.ts';
import type { Random } from './random.ts';
import { WALL_START, type SimClock } from './sim-clock.ts';
import { simSpec, type SimWorker } from './worker.ts';

export interface ControlPlaneOptions {
  readonly tokenLifeMs: number;
  /** One way to it, ms. */
  readonly delayMs: number;
  /** A worker that died is still handed out for this long, ms. */
  readonly freshMs: number;
  /** Share of answers that are lost on the way back. */
  readonly loss: number;
}

export type NewSession = Omit<SessionClaims, 'worker' | 'epoch'>;

export interface Issued {
  readonly token: string;
  readonly verified: VerifiedToken;
}

interface Placed {
  readonly claims: NewSession;
  epoch: number;
  worker: SimWorker;
  ended: boolean;
}

/** Places sessions and issues tokens, as `sessions.create`, `resume` and `end` do. */
export class SimControlPlane {
  readonly workers: readonly SimWorker[];
  readonly issued: Issued[] = [];
  /** Told of a grant before its robot is. */
  onGrant: (grant: SessionGrant, worker: SimWorker) => void = () => undefined;
  private readonly clock: SimClock;
  private readonly random: Random;
  private readonly options: ControlPlaneOptions;
  private readonly sessions = new Map<string, Placed>();
  private downUntil = 0;

  constructor(
    clock: SimClock,
    random: Random,
    workers: readonly SimWorker[],
    options: ControlPlaneOptions,
  ) {
    this.clock = clock;
    this.random = random;
    this.workers = workers;
    this.options = options;
  }

  /** Answers nothing for so long. */
  goDown(ms: number): void {
    this.downUntil = this.clock.now() + ms;
  }

  create(claims: NewSession): SessionGrant {
    const placed = { claims, epoch: 0, worker: this.pick(), ended: false };
    this.sessions.set(claims.sub, placed);
    return this.grant(placed);
  }

  async resume(id: string, wishes: ResumeWishes = {}): Promise<SessionGrant> {
    await this.clock.sleep(this.options.delayMs);
    const placed = this.sessions.get(id);
    if (this.clock.now() < this.downUntil || placed === undefined) throw unavailable();
    if (placed.ended) throw new ArmatureError('conflict', `session ${id} has ended`);
    placed.worker = this.pick(wishes.worker ?? placed.worker.id, wishes.avoid_url);
    placed.epoch += 1;
    const grant = this.grant(placed);
    this.onGrant(grant, placed.worker);
    const lost = this.random.chance(this.options.loss);
    await this.clock.sleep(this.options.delayMs);
    if (lost) throw unavailable();
    return grant;
  }

  /** The epoch of the last grant. */
  epochOf(id: string): number {
    return this.sessions.get(id)?.epoch ?? -1;
  }

  end(id: string): void {
    const placed = this.sessions.get(id);
    if (placed !== undefined) placed.ended = true;
  }

  /** @throws ArmatureError as `tokenVerifier` does. */
  async verify(token: string): Promise<VerifiedToken> {
    const found = this.issued.find((one) => one.token === token)?.verified;
    if (found === undefined) throw new ArmatureError('invalid_token', 'this was never issued');
    if (found.expiresAt <= this.clock.wall()) throw new ArmatureError('expired_token', 'is over');
    return found;
  }

  private pick(preferred?: string, avoidUrl?: string): SimWorker {
    const ready = this.workers.filter((worker) => worker.seemsReady(this.options.freshMs));
    const [fewest] = ready.sort((a, b) => a.sessions - b.sessions);
    const others = ready.filter(({ url }) => url !== avoidUrl);
    const worker = others.find(({ id }) => id === preferred) ?? others[0] ?? fewest;
    if (worker === undefined) throw unavailable();
    return worker;
  }

  private grant({ claims, epoch, worker }: Placed): SessionGrant {
    const iat = this.clock.wall() / 1000;
    const exp = iat + this.options.tokenLifeMs / 1000;
    const payload = Buffer.from(JSON.stringify({ iat, exp })).toString('base64url');
    const token = `sim.${payload}.${this.issued.length}`;
    const verified = {
      claims: { ...claims, worker: worker.id, epoch },
      expiresAt: exp * 1000,
    };
    this.issued.push({ token, verified });
    return {
      session: sessionOf(verified.claims, new Date(WALL_START)),
      url: worker.url,
      announce_url: announceUrl(worker.url),
      token,
      token_expires_at: new Date(exp * 1000).toISOString(),
      embodiment: simSpec,
    };
  }
}

function unavailable(): ArmatureError {
  return new ArmatureError('unavailable', 'the control plane gives no worker now');
}
