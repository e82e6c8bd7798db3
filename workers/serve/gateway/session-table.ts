import { ArmatureError, type SessionClaims } from '@armature/sdk/contract';
import type { RobotSession } from '../session/index.ts';

/** A robot's socket, whatever dialect it speaks. */
export interface LiveConnection {
  readonly session: RobotSession;
  /** Asks whether the robot is there; one that did not answer the last time is let go. */
  ping(): void;
  /** Tells the robot to go elsewhere. */
  drain(reason: string): void;
  close(code: number, reason: string): void;
  /** Ends a socket whose robot does not answer the closing handshake. */
  terminate(): void;
}

/** The connections of this worker, one a session: of two, the later epoch is the robot. */
export class SessionTable {
  private readonly bySession = new Map<string, LiveConnection>();
  private readonly highestSpent: (session: string) => number | undefined;

  /** @param highestSpent highest epoch of a session that has served a chunk here. */
  constructor(highestSpent: (session: string) => number | undefined) {
    this.highestSpent = highestSpent;
  }

  get size(): number {
    return this.bySession.size;
  }

  all(): LiveConnection[] {
    return [...this.bySession.values()];
  }

  /**
   * Whether a connection with these claims may be opened.
   * @throws ArmatureError `conflict` for an epoch that is over.
   */
  assertCurrent(claims: SessionClaims): void {
    const spent = this.highestSpent(claims.sub) ?? -1;
    const live = this.bySession.get(claims.sub)?.session.claims.epoch ?? -1;
    if (claims.epoch > spent && claims.epoch >= live) return;
    throw new ArmatureError('conflict', `epoch ${claims.epoch} of ${claims.sub} is over`, {
      field: 'epoch',
      fix: 'Resume the session through the control plane for the next epoch.',
    });
  }

  /** Puts a connection in place of the session's earlier one, which is closed. */
  add(connection: LiveConnection): void {
    const { sub } = connection.session.claims;
    const earlier = this.bySession.get(sub);
    this.bySession.set(sub, connection);
    if (earlier === undefined) return;
    earlier.session.end();
    earlier.close(1008, 'the session goes on in another connection');
  }

  remove(connection: LiveConnection): void {
    const { sub } = connection.session.claims;
    if (this.bySession.get(sub) === connection) this.bySession.delete(sub);
  }
}
