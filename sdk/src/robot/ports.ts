import { realClock, type Clock } from './clock.ts';
import { openSocket } from './socket.ts';

/** What a robot's connection takes from its machine; tests put virtual ones in its place. */
export interface RobotPorts {
  readonly clock: Clock;
  /** ms since the Unix epoch; may be set at any time. */
  readonly wall: () => number;
  /** In [0, 1), for waits that are not to be the same everywhere. */
  readonly random: () => number;
  readonly openSocket: typeof openSocket;
}

export const realPorts: RobotPorts = {
  // A machine that was suspended has not been without a connection meanwhile: it had no chance of one.
  clock: { ...realClock, now: () => performance.now() },
  wall: () => Date.now(),
  random: () => Math.random(),
  openSocket,
};
