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

export interface SessionTableOptions {
  /** Highest epoch of a session that has been opened here. */
  readonly highestSpent: (session: string) => number | undefined;
  readonly hasEnded: (session: string) => boolean;
  /** Told of a connection that a later epoch of its session takes the place of. */
  readonly onReplaced: (earlier: SessionClaims, by: SessionClaims) => void;
}

/** The connections of this worker, one a session: of two, the later epoch is the robot. */
export class SessionTable {
  private readonly bySession = new Map<string, LiveConnection>();
  private readonly options: SessionTableOptions;

  constructor(options: SessionTableOptions) {
    this.options = options;
  }

  get size(): number {
    return this.bySession.size;
  }

  all(): LiveConnection[] {
    return [...this.bySession.values()];
  }

  /**
   * Whether a connection with these claims may be opened: its epoch is later than every one that was
   * opened here, or is being opened.
   * @throws ArmatureError `conflict` naming `epoch`, or `session` where that has ended.
   */
  assertCurrent(claims: SessionClaims): void {
    const spent = this.options.highestSpent(claims.sub) ?? -1;
    const live = this.bySession.get(claims.sub)?.session.claims.epoch ?? -1;
    if (claims.epoch > Math.max(spent, live)) return;
    if (this.options.hasEnded(claims.sub)) {
      throw new ArmatureError('conflict', `session ${claims.sub} has ended`, {
        field: 'session',
        fix: 'Create a new session.',
      });
    }
    throw new ArmatureError('conflict', `epoch ${claims.epoch} of ${claims.sub} has been used`, {
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
    this.options.onReplaced(earlier.session.claims, connection.session.claims);
    earlier.session.end();
    earlier.close(1008, 'the session goes on in another connection');
  }

  /** Closes the connection of a session that has ended, if it has one here. */
  end(session: string): void {
    const connection = this.bySession.get(session);
    if (connection === undefined) return;
    this.bySession.delete(session);
    connection.session.end();
    connection.close(1008, 'the session has ended');
  }

  remove(connection: LiveConnection): void {
    const { sub } = connection.session.claims;
    if (this.bySession.get(sub) === connection) this.bySession.delete(sub);
  }
}
