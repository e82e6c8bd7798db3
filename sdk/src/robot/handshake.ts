import type { SessionGrant } from '../../contract/index.ts';
import { cancelled, throwIfCancelled } from '../backoff.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import { deferred } from './deferred.ts';
import { errorFromFrame, lostConnection, noAnswer, readFrame } from './server-frames.ts';
import type { RobotPorts } from './ports.ts';
import type { RobotSocket } from './socket.ts';

export interface OpenOptions {
  readonly grant: SessionGrant;
  readonly connectTimeoutMs: number;
  /** Longest silence before the welcome, ms. */
  readonly loadingTimeoutMs: number;
  readonly signal: AbortSignal;
  readonly ports: RobotPorts;
  readonly events: ConnectionEvents;
}

/**
 * Opens a socket with the grant's token and waits until the worker is ready.
 * @throws ArmatureError as the worker refused, `unavailable`, `timeout`, `cancelled`.
 */
export async function openConnection(options: OpenOptions): Promise<Connection> {
  const { grant, signal, ports } = options;
  throwIfCancelled(signal);
  const handshake = new Handshake(options);
  const socket = await ports.openSocket(
    { url: grant.url, token: grant.token, timeoutMs: options.connectTimeoutMs },
    {
      message: (data) => handshake.message(data),
      close: (code, reason) => handshake.close(code, reason),
    },
  );
  const abort = (): void => handshake.giveUp(cancelled(signal));
  signal.addEventListener('abort', abort, { once: true });
  try {
    handshake.opened(socket);
    if (signal.aborted) abort();
    return await handshake.done;
  } catch (error) {
    socket.close(1000, 'given up');
    throw error;
  } finally {
    handshake.end();
    signal.removeEventListener('abort', abort);
  }
}

/** What arrives before the welcome; from then on everything goes to the connection. */
class Handshake {
  private readonly options: OpenOptions;
  private readonly outcome = deferred<Connection>();
  private readonly held: (Uint8Array | string)[] = [];
  private socket: RobotSocket | undefined;
  private connection: Connection | undefined;
  private stopTimer = (): void => undefined;

  constructor(options: OpenOptions) {
    this.options = options;
  }

  get done(): Promise<Connection> {
    return this.outcome.promise;
  }

  opened(socket: RobotSocket): void {
    this.socket = socket;
    this.listen();
    for (const data of this.held.splice(0)) this.message(data);
  }

  message(data: Uint8Array | string): void {
    if (this.connection !== undefined) this.connection.receive(data);
    else if (this.socket === undefined) this.held.push(data);
    else this.early(data, this.socket);
  }

  close(code: number, reason: string): void {
    if (this.connection !== undefined) this.connection.closed(code, reason);
    else this.giveUp(lostConnection(`ended before its welcome (${code}: ${reason})`));
  }

  giveUp(error: Error): void {
    this.outcome.reject(error);
  }

  end(): void {
    this.stopTimer();
  }

  private early(data: Uint8Array | string, socket: RobotSocket): void {
    const frame = readFrame(data);
    const { events, ports } = this.options;
    switch (frame?.type) {
      case 'welcome':
        this.connection = new Connection(socket, frame, events, ports.clock);
        return this.outcome.resolve(this.connection);
      case 'loading':
        this.listen();
        return events.loading(frame.message);
      case 'error':
        return this.giveUp(errorFromFrame(frame));
      case 'drain':
        return this.giveUp(lostConnection(`is leaving (${frame.reason})`));
      case 'chunk':
      case 'reasoning':
      case undefined:
        return events.dropped('invalid');
    }
  }

  private listen(): void {
    const { loadingTimeoutMs, ports } = this.options;
    this.stopTimer();
    const giveUp = (): void => this.giveUp(noAnswer(loadingTimeoutMs));
    this.stopTimer = ports.clock.after(loadingTimeoutMs, giveUp);
  }
}
