import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';

/** A place on this worker that one session holds. */
export interface Allocation {
  readonly session: string;
  readonly epoch: number;
  /** Rises with every allocation: a holder whose fence is no longer its place's holds nothing. */
  readonly fence: number;
}

/** One session's place: it is held for as long as either is there. */
interface Held {
  readonly connected?: Allocation;
  /** Kept until `until` (ms) for a robot that has been told to come. */
  readonly reserved?: Allocation & { readonly until: number };
}

export type AllocationState = 'ready' | 'allocated' | 'draining';

/**
 * The places of a worker: ready, allocated to one session each, or draining when no more are given
 * out. A session's next epoch takes over its own place; giving a place back works only with the fence
 * it was taken with, so that a connection that ends late never frees its successor's place.
 */
export class Allocations {
  private readonly capacity: number;
  private readonly held = new Map<string, Held>();
  private fences = 0;
  private isDraining = false;
  private readonly onExpired: (session: string) => void;

  /** @param onExpired told of a place that was kept for a robot that did not come. */
  constructor(capacity: number, onExpired: (session: string) => void = () => undefined) {
    this.capacity = capacity;
    this.onExpired = onExpired;
  }

  /** Places by state at `now` (ms). */
  counts(now: number): Readonly<Record<AllocationState, number>> {
    this.expire(now);
    const allocated = this.held.size;
    const free = this.capacity - allocated;
    return this.isDraining
      ? { ready: 0, allocated: 0, draining: allocated }
      : { ready: free, allocated, draining: 0 };
  }

  /** From here on no place is given out. */
  drain(): void {
    this.isDraining = true;
  }

  /**
   * Keeps a place for a session that is about to connect, for `forMs`. One that is connected keeps its
   * place whether or not it comes again.
   * @throws ArmatureError `unavailable` when there is none, `conflict` for an epoch that is over.
   */
  reserve(claims: Pick<SessionClaims, 'sub' | 'epoch'>, now: number, forMs: number): Allocation {
    this.assertPlace(claims, now);
    const own = this.held.get(claims.sub);
    if (own?.connected?.epoch === claims.epoch) return own.connected;
    const reserved = { ...this.allocate(claims), until: now + forMs };
    this.held.set(claims.sub, { ...own, reserved });
    return reserved;
  }

  /**
   * Gives a session that has connected its place: the one that was kept for it, its earlier epoch's,
   * or a free one.
   * @throws ArmatureError `unavailable` when there is none, `conflict` for an epoch that is over.
   */
  take(claims: Pick<SessionClaims, 'sub' | 'epoch'>, now: number): Allocation {
    this.assertPlace(claims, now);
    const connected = this.allocate(claims);
    this.held.set(claims.sub, { connected });
    return connected;
  }

  /** Gives a place back; false, and nothing changes, for one that has another holder by now. */
  release({ session, fence }: Allocation): boolean {
    const { connected, reserved } = this.held.get(session) ?? {};
    if (connected?.fence === fence) this.keep(session, reserved === undefined ? {} : { reserved });
    else if (reserved?.fence === fence) {
      this.keep(session, connected === undefined ? {} : { connected });
    } else return false;
    return true;
  }

  /**
   * Whether `take` would give a place to this session.
   * @throws ArmatureError `unavailable` when there is none, `conflict` for an epoch that is over.
   */
  assertPlace({ sub, epoch }: Pick<SessionClaims, 'sub' | 'epoch'>, now: number): void {
    this.expire(now);
    const own = this.held.get(sub);
    if (Math.max(own?.connected?.epoch ?? epoch, own?.reserved?.epoch ?? epoch) > epoch) {
      throw new ArmatureError('conflict', `epoch ${epoch} of ${sub} is over`, {
        field: 'epoch',
        fix: 'Resume the session through the control plane for the next epoch.',
      });
    }
    if (this.isDraining || (own === undefined && this.held.size >= this.capacity)) {
      const why = this.isDraining ? 'takes no new sessions' : 'holds as many sessions as it can';
      throw new ArmatureError('unavailable', `this worker ${why}`, {
        fix: 'Resume the session through the control plane.',
      });
    }
  }

  /** Gives back the places that were kept for long enough. */
  expire(now: number): void {
    for (const [session, { connected, reserved }] of this.held) {
      if (reserved === undefined || reserved.until > now) continue;
      this.keep(session, connected === undefined ? {} : { connected });
      this.onExpired(session);
    }
  }

  private allocate({ sub, epoch }: Pick<SessionClaims, 'sub' | 'epoch'>): Allocation {
    this.fences += 1;
    return { session: sub, epoch, fence: this.fences };
  }

  /** What is left of a session's place; without either it is free. */
  private keep(session: string, left: Held): void {
    if (left.connected === undefined && left.reserved === undefined) this.held.delete(session);
    else this.held.set(session, left);
  }
}
