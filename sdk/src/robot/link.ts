import { ArmatureError, type SessionGrant, type WireReasoning } from '../../contract/index.ts';
import { backoffMs, cancelled } from '../backoff.ts';
import type { Connection, Dropped } from './connection.ts';
import { deferred, type Deferred } from './deferred.ts';
import { assertSameEmbodiment, type EmbodimentShape } from './embodiment.ts';
import { openConnection } from './handshake.ts';
import type { RobotPorts } from './ports.ts';
import { tokenLifetimeMs } from './token-lifetime.ts';

export type SessionStatus = 'connecting' | 'loading' | 'ready' | 'reconnecting' | 'closed';

export interface ReconnectOptions {
  /** First wait, ms; 250 unless told. */
  readonly baseMs: number;
  /** Longest wait, ms; 10,000 unless told. */
  readonly maxMs: number;
  /** Without a connection for this long, the session is given up, ms; 120,000 unless told. */
  readonly giveUpAfterMs: number;
}

/** At which worker a session goes on, of those that are ready. */
export interface ResumeWishes {
  /** Where it is connected: it stays there if that worker takes it. */
  readonly worker?: string;
  /** Url of a grant whose worker was not reached or had no place. */
  readonly avoid_url?: string;
}

export interface LinkOptions {
  readonly embodiment: EmbodimentShape;
  readonly grant: SessionGrant;
  /** A new token with the next epoch; without it the link neither renews nor reconnects. */
  readonly resume: ((wishes?: ResumeWishes) => Promise<SessionGrant>) | undefined;
  readonly connectTimeoutMs: number;
  /** Longest silence while a policy is loaded, ms. */
  readonly loadingTimeoutMs: number;
  readonly reconnect: ReconnectOptions;
  readonly onStatus: ((status: SessionStatus, detail: string) => void) | undefined;
  /** Errors that no call waits for: a refused token, an attempt to reconnect that failed. */
  readonly onError: ((error: ArmatureError) => void) | undefined;
  /** Reasonings that were made beside the chunks, as soon as they are there. */
  readonly onReasoning: ((reasoning: WireReasoning) => void) | undefined;
  readonly ports: RobotPorts;
  readonly onDropped: (why: Dropped) => void;
  readonly onReconnect: () => void;
  readonly onRefresh: () => void;
}

/** A connection that is lost sooner than this after its welcome is not replaced at once, ms. */
const SHORT_LIFE_MS = 5_000;
/** How long one that was replaced may take to answer what it was asked, ms. */
const ANSWERED_WITHIN_MS = 2_000;

/**
 * Keeps one connection to a worker: renews its token on the socket before it runs out, replaces a
 * connection that is lost, and one that is leaving, says nothing any more, or whose session is placed
 * elsewhere, before it is left.
 */
export class Link {
  private readonly options: LinkOptions;
  private readonly stop = new AbortController();
  private grant: SessionGrant;
  private connection: Connection | undefined;
  private waiting: Deferred<Connection> | undefined;
  private status: SessionStatus = 'connecting';
  private failure: ArmatureError | undefined;
  private stopRefresh = (): void => undefined;
  private replacing = false;
  /** What the worker that left gave along, until the next one has it. */
  private handedOver: string | undefined;
  private adoptedAt = 0;
  /** Connections in a row that were lost soon after their welcome. */
  private shortLived = 0;

  constructor(options: LinkOptions) {
    this.options = options;
    this.grant = options.grant;
  }

  get state(): SessionStatus {
    return this.status;
  }

  get sessionId(): string {
    return this.grant.session.id;
  }

  get epoch(): number {
    return this.grant.session.epoch;
  }

  /** The connection in use, if there is one now. */
  get now(): Connection | undefined {
    return this.connection;
  }

  /** What the next worker is to be told, once. */
  takeHandover(): string | undefined {
    const resume = this.handedOver;
    this.handedOver = undefined;
    return resume;
  }

  /** Connects for the first time. @throws ArmatureError when no connection can be had. */
  async start(): Promise<void> {
    this.setStatus('connecting', this.grant.url);
    try {
      this.adopt(await this.establish(this.grant));
    } catch (error) {
      this.shut(asArmature(error));
      throw error;
    }
  }

  /**
   * The connection in use, or the next one.
   * @throws ArmatureError `unavailable` after `timeoutMs`, `cancelled`, or why the link has ended.
   */
  async connected(timeoutMs: number, signal: AbortSignal | undefined): Promise<Connection> {
    if (this.connection !== undefined) return this.connection;
    if (this.status === 'closed') throw this.whyClosed();
    if (this.waiting === undefined) {
      this.waiting = deferred<Connection>();
      // Those who wait see the rejection through the race below; without one left it is nobody's.
      this.waiting.promise.catch(() => undefined);
    }
    const given = deferred<never>();
    const giveUp = (): void =>
      given.reject(signal?.aborted === true ? cancelled(signal) : notConnected());
    const stopTimer = this.options.ports.clock.after(timeoutMs, giveUp);
    signal?.addEventListener('abort', giveUp, { once: true });
    if (signal?.aborted === true) giveUp();
    try {
      return await Promise.race([this.waiting.promise, given.promise]);
    } finally {
      stopTimer();
      signal?.removeEventListener('abort', giveUp);
    }
  }

  /** Why there is no connection and will be none. */
  whyClosed(): ArmatureError {
    return this.failure ?? notConnected();
  }

  /** Says goodbye to the worker and ends. */
  async close(byeMs: number): Promise<void> {
    const { connection } = this;
    this.shut(undefined);
    await connection?.bye(byeMs);
  }

  /** Opens a connection, with new grants and growing waits until one stands. */
  private async establish(first: SessionGrant | undefined): Promise<Connection> {
    const { reconnect, resume, ports } = this.options;
    const startedAt = ports.clock.now();
    let grant = first;
    let avoid: ResumeWishes | undefined;
    for (let attempt = 0; ; attempt++) {
      try {
        const granted: SessionGrant | undefined = grant ?? (await resume?.(avoid));
        if (granted === undefined) throw notConnected();
        grant = granted;
        const connection = await this.open(grant);
        this.grant = grant;
        return connection;
      } catch (cause) {
        const error = asArmature(cause);
        const spent = ports.clock.now() - startedAt > reconnect.giveUpAfterMs;
        const mends = error.retryable || isUsedUp(error);
        if (!mends || resume === undefined || spent || this.stop.signal.aborted) {
          throw error;
        }
        this.options.onError?.(error);
        if (grant !== undefined && !isUsedUp(error)) avoid = { avoid_url: grant.url };
        grant = undefined;
        await this.pause(attempt);
      }
    }
  }

  private async open(grant: SessionGrant): Promise<Connection> {
    const { options } = this;
    assertSameEmbodiment(options.embodiment, grant.embodiment);
    const opened: { connection?: Connection } = {};
    const connection = await openConnection({
      grant,
      connectTimeoutMs: options.connectTimeoutMs,
      loadingTimeoutMs: options.loadingTimeoutMs,
      signal: this.stop.signal,
      ports: options.ports,
      events: {
        loading: (message) => this.setStatus('loading', message),
        dropped: options.onDropped,
        error: (error) => options.onError?.(error),
        reasoning: (reasoning) => options.onReasoning?.(reasoning),
        drain: (reason, resume) => {
          this.handedOver = resume;
          void this.replace(opened.connection, reason);
        },
        silent: () => {
          const why = 'nothing was heard of the worker';
          if (options.resume !== undefined) void this.replace(opened.connection, why);
        },
        lost: (error) => void this.replace(opened.connection, error.message),
      },
    });
    opened.connection = connection;
    try {
      assertSameEmbodiment(options.embodiment, connection.welcome.embodiment);
    } catch (error) {
      connection.retire(0);
      throw error;
    }
    return connection;
  }

  /**
   * Puts a new connection in place of one that is lost, or is leaving and serves until then.
   * @param grant for the new connection; another is asked for where it is not given, or does not do.
   */
  private async replace(
    old: Connection | undefined,
    why: string,
    grant?: SessionGrant,
  ): Promise<void> {
    if (old === undefined || this.connection !== old) return;
    if (!old.isOpen) {
      this.connection = undefined;
      this.setStatus('reconnecting', why);
    }
    if (this.replacing) return;
    this.replacing = true;
    this.stopRefresh();
    const lived = this.options.ports.clock.now() - this.adoptedAt;
    this.shortLived = lived < SHORT_LIFE_MS ? this.shortLived + 1 : 0;
    try {
      if (this.shortLived > 1) await this.pause(this.shortLived - 2);
      const fresh = await this.establish(grant);
      this.options.onReconnect();
      old.retire(ANSWERED_WITHIN_MS);
      this.replacing = false;
      this.adopt(fresh);
    } catch (error) {
      this.replacing = false;
      // The old one serves until it is lost, which is tried again then.
      if (this.connection === old) this.options.onError?.(asArmature(error));
      else this.shut(asArmature(error));
    }
  }

  private adopt(connection: Connection): void {
    this.connection = connection;
    this.adoptedAt = this.options.ports.clock.now();
    this.setStatus('ready', connection.welcome.worker);
    this.scheduleRefresh();
    this.waiting?.resolve(connection);
    this.waiting = undefined;
    // It may have gone between its welcome and now, when nobody could replace it yet.
    if (!connection.isOpen) void this.replace(connection, 'the connection ended');
  }

  private scheduleRefresh(): void {
    const { resume, ports } = this.options;
    if (resume === undefined) return;
    const lifetime = tokenLifetimeMs(this.grant, ports.wall());
    const due = Math.min(2 ** 31 - 1, Math.max(lifetime / 2, lifetime - 120_000));
    this.stopRefresh();
    this.stopRefresh = ports.clock.after(due, () => void this.refresh(resume, lifetime - due));
  }

  /** Renews the token on the socket; goes over to another worker where the session is placed there. */
  private async refresh(resume: NonNullable<LinkOptions['resume']>, leftMs: number): Promise<void> {
    const { connection } = this;
    const { clock } = this.options.ports;
    const startedAt = clock.now();
    for (let attempt = 0; clock.now() - startedAt < leftMs; attempt++) {
      try {
        const grant = await resume(
          connection === undefined ? undefined : { worker: connection.welcome.worker },
        );
        if (connection === undefined || this.connection !== connection || this.replacing) return;
        if (grant.url !== this.grant.url) {
          return await this.replace(connection, 'the session is placed elsewhere', grant);
        }
        this.grant = grant;
        connection.refresh(grant);
        this.options.onRefresh();
        return this.scheduleRefresh();
      } catch (cause) {
        const error = asArmature(cause);
        if (this.stop.signal.aborted) return;
        this.options.onError?.(error);
        if (!error.retryable) return;
      }
      const goesOn = await this.pause(attempt).then(
        () => true,
        () => false,
      );
      if (!goesOn) return;
    }
  }

  /** Waits before repeat number `attempt`. @throws ArmatureError as soon as the link ends. */
  private pause(attempt: number): Promise<void> {
    const { reconnect, ports } = this.options;
    return ports.clock.sleep(backoffMs(attempt, reconnect, ports.random()), this.stop.signal);
  }

  private shut(error: ArmatureError | undefined): void {
    if (this.status === 'closed') return;
    this.stopRefresh();
    this.failure = error;
    this.connection = undefined;
    this.setStatus('closed', error?.message ?? '');
    this.waiting?.reject(this.whyClosed());
    this.waiting = undefined;
    this.stop.abort(this.whyClosed());
  }

  private setStatus(status: SessionStatus, detail: string): void {
    if (this.status === 'closed') return;
    this.status = status;
    this.options.onStatus?.(status, detail);
  }
}

/** Whether a worker refused a grant that only another can take the place of. */
function isUsedUp({ code, field }: ArmatureError): boolean {
  return (code === 'conflict' && field === 'epoch') || (code === 'forbidden' && field === 'worker');
}

function asArmature(error: unknown): ArmatureError {
  if (error instanceof ArmatureError) return error;
  return new ArmatureError('internal', error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}

function notConnected(): ArmatureError {
  return new ArmatureError('unavailable', 'the session has no connection', {
    fix: 'Wait for status ready, or connect again.',
  });
}
