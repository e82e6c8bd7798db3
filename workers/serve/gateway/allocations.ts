import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';

/** A place on this worker that one session holds. */
export interface Allocation {
  readonly session: string;
  readonly epoch: number;
  /** Rises with every allocation: a holder whose fence is no longer its place's holds nothing. */
  readonly fence: number;
}

interface Held extends Allocation {
  /** Until when a place is kept for a robot that has not connected yet, ms; Infinity once it has. */
  readonly until: number;
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
   * Keeps a place for a session that is about to connect, for `forMs`.
   * @throws ArmatureError `unavailable` when there is none, `conflict` for an epoch that is over.
   */
  reserve(claims: Pick<SessionClaims, 'sub' | 'epoch'>, now: number, forMs: number): Allocation {
    const connected = this.held.get(claims.sub);
    if (connected?.until === Infinity && connected.epoch === claims.epoch) return connected;
    return this.hold(claims, now, now + forMs);
  }

  /**
   * Gives a session that has connected its place: the one that was kept for it, its earlier epoch's,
   * or a free one.
   * @throws ArmatureError `unavailable` when there is none, `conflict` for an epoch that is over.
   */
  take(claims: Pick<SessionClaims, 'sub' | 'epoch'>, now: number): Allocation {
    return this.hold(claims, now, Infinity);
  }

  /** Gives a place back; false, and nothing changes, for one that has another holder by now. */
  release(allocation: Allocation): boolean {
    if (this.held.get(allocation.session)?.fence !== allocation.fence) return false;
    return this.held.delete(allocation.session);
  }

  private hold(
    { sub, epoch }: Pick<SessionClaims, 'sub' | 'epoch'>,
    now: number,
    until: number,
  ): Allocation {
    this.expire(now);
    const own = this.held.get(sub);
    if (own !== undefined && own.epoch > epoch) {
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
    this.fences += 1;
    const held = { session: sub, epoch, fence: this.fences, until };
    this.held.set(sub, held);
    return held;
  }

  /** Gives back the places that were kept for long enough. */
  expire(now: number): void {
    for (const [session, { until }] of this.held) {
      if (until > now) continue;
      this.held.delete(session);
      this.onExpired(session);
    }
  }
}
