import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './api-process.ts';
import { startNodeProcess, type NodeProcess } from './node-process.ts';
import { startRoundRobin, type RoundRobin } from './round-robin.ts';

/** Requests from which on the first process is restarted, so that some are under way. */
const BEFORE_RESTART = 5;
const ENTRY = 'test/support/api-main.ts';
const MARKER = /"request_id":"(log-marker-[^"]+)"/;

type Environment = Readonly<Record<string, string>>;

interface Suite {
  /** What each process had answered when it began. */
  readonly before: ReadonlyMap<number, number>;
  readonly restarted: Promise<void>;
  isEnding: boolean;
}

/** Two API processes behind a round robin, for one suite after another. */
export class ApiPair {
  /** Lines that the processes have logged. */
  readonly log: string[] = [];
  readonly #first: number;
  readonly #ports: readonly number[];
  readonly #balancer: RoundRobin;
  readonly #running = new Map<number, NodeProcess>();
  readonly #markers = new Set<string>();
  #environment: Environment = {};
  #suite: Suite | undefined;

  private constructor(first: number, ports: readonly number[], balancer: RoundRobin) {
    this.#first = first;
    this.#ports = ports;
    this.#balancer = balancer;
  }

  /** @param client whom each request seems to come from */
  static async open(client: () => string): Promise<ApiPair> {
    const [first, second] = [await freePort(), await freePort()];
    const ports = [first, second];
    return new ApiPair(first, ports, await startRoundRobin(ports, client));
  }

  get url(): string {
    return this.#balancer.url;
  }

  /**
   * Begins a suite: both processes have this environment, and the first is told to stop while requests are
   * under way, and started again.
   */
  async begin(environment: Environment): Promise<void> {
    if (this.#suite !== undefined) throw new Error('another suite has the two processes');
    const isSame = JSON.stringify(environment) === JSON.stringify(this.#environment);
    if (this.#running.size === 0 || !isSame) {
      this.#environment = environment;
      await this.#both((port) => this.#restart(port));
    }
    this.log.length = 0;
    const suite: Omit<Suite, 'restarted'> = {
      before: new Map(this.#balancer.answered),
      isEnding: false,
    };
    const restarted = this.#restartUnderLoad(suite);
    // Whoever ends the suite is told.
    restarted.catch(() => undefined);
    this.#suite = Object.assign(suite, { restarted });
  }

  /** Ends a suite. @throws Error where a process was not asked, or the restart did not go well. */
  async end(): Promise<void> {
    const suite = this.#suite;
    if (suite === undefined) throw new Error('no suite has begun');
    suite.isEnding = true;
    this.#suite = undefined;
    await suite.restarted;
    const idle = this.#ports.filter((port) => this.#answeredSince(suite, port) === 0);
    if (idle.length > 0) throw new Error(`${idle.length} of two processes answered nothing`);
  }

  async stop(): Promise<void> {
    await this.#both((port) => this.#stop(port));
    await this.#balancer.close();
  }

  /** Waits for the lines of all that was answered before. */
  async logged(): Promise<void> {
    await this.#both(async (port) => {
      const id = `log-marker-${randomUUID()}`;
      while (!this.#markers.has(id)) {
        const request = { headers: { 'x-request-id': id } };
        // It may be about to be restarted.
        await fetch(`http://127.0.0.1:${port}/v1/tenant`, request).catch(() => undefined);
        await sleep(50);
      }
    });
  }

  async #restartUnderLoad(suite: Omit<Suite, 'restarted'>): Promise<void> {
    while (!suite.isEnding && this.#answeredSince(suite, this.#first) < BEFORE_RESTART) {
      await sleep(20);
    }
    this.#balancer.leave(this.#first);
    await this.#restart(this.#first);
    this.#balancer.back(this.#first);
  }

  async #restart(port: number): Promise<void> {
    await this.#stop(port);
    const environment = { ...this.#environment, PORT: String(port) };
    const onLine = (line: string): void => {
      const marker = MARKER.exec(line)?.[1];
      if (marker === undefined) this.log.push(line);
      else this.#markers.add(marker);
    };
    const started = await startNodeProcess(ENTRY, environment, onLine, 'inside');
    this.#running.set(port, started);
  }

  async #stop(port: number): Promise<void> {
    const stopped = this.#running.get(port);
    if (stopped === undefined) return;
    this.#running.delete(port);
    const code = await stopped.stop();
    if (code !== 0) throw new Error(`the API ended with ${String(code)}:\n${stopped.log()}`);
  }

  async #both(what: (port: number) => Promise<void>): Promise<void> {
    await Promise.all(this.#ports.map(what));
  }

  #answeredSince({ before }: Pick<Suite, 'before'>, port: number): number {
    return (this.#balancer.answered.get(port) ?? 0) - (before.get(port) ?? 0);
  }
}
