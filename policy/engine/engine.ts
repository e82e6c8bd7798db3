import { Worker } from 'node:worker_threads';
import { Graph, add, toOnnx } from '../tensor/index.ts';
import type { FlatPart } from '../nn/flat.ts';
import type { TensorData } from '../tensor/index.ts';
import type { AdamWStart } from './adamw.ts';
import { EngineError } from './errors.ts';
import { Gate } from './gate.ts';
import type {
  Call,
  DescendOptions,
  EngineStats,
  ExecutionProvider,
  LoadOptions,
  Reply,
  Request,
  RunOptions,
  StepOptions,
  WorkerData,
  WorkerSettings,
} from './protocol.ts';
import { pack } from './value.ts';
import type { Values } from './value.ts';

export interface EngineOptions {
  /** Threads that one operator may use. */
  readonly threads: number;
  /** Shown in errors and as the thread's name. */
  readonly name?: string;
  readonly executionProvider?: ExecutionProvider;
  /** Whether threads spin for work during a run (faster where cores are free); never between runs. */
  readonly spin?: boolean;
  /** How far its threads give way to others of the process, 0 (default) to 19; on Linux alone. */
  readonly niceness?: number;
  /** Told once when the thread ends though nobody asked for it: from then on every call fails. */
  readonly onThreadLost?: (error: EngineError) => void;
}

/** Longest run that the end of the process waits for. */
const EXIT_WAIT_MS = 10_000;

/** Gates of the engines whose workers run. */
const live = new Set<Gate>();
let held = false;

/** Makes the end of the process wait until no worker is inside the runtime. */
function holdExit(): void {
  if (held) return;
  held = true;
  process.on('exit', () => {
    for (const gate of live) gate.abandon();
    for (const gate of live) gate.waitOutside(EXIT_WAIT_MS);
  });
}

interface Pending {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: EngineError) => void;
}

/**
 * One worker thread that holds ONNX Runtime sessions and answers calls in their order. All methods
 * reject with EngineError; after a crash or `close` every pending and later call does.
 */
export class Engine {
  readonly name: string;
  readonly executionProvider: ExecutionProvider;
  private readonly worker: Worker;
  private readonly gate: Gate;
  private readonly exited: Promise<void>;
  private readonly pending = new Map<number, Pending>();
  private next = 0;
  private ended: EngineError | undefined;

  private constructor(
    worker: Worker,
    name: string,
    executionProvider: ExecutionProvider,
    gate: Gate,
    onThreadLost: (error: EngineError) => void,
  ) {
    this.worker = worker;
    this.name = name;
    this.executionProvider = executionProvider;
    this.gate = gate;
    live.add(gate);
    this.exited = new Promise((resolve) => {
      worker.once('exit', () => {
        live.delete(gate);
        resolve();
      });
    });
    worker.on('message', (reply: Reply) => {
      this.pending.get(reply.ticket)?.resolve(reply);
      this.pending.delete(reply.ticket);
    });
    const lose = (error: EngineError): void => {
      const isAsked = this.ended !== undefined;
      this.end(error);
      if (!isAsked) onThreadLost(error);
    };
    worker.on('error', (error) => {
      lose(new EngineError('crashed', `engine ${name} crashed: ${String(error)}`));
    });
    worker.on('exit', (code) => {
      lose(new EngineError('crashed', `engine ${name} ended with code ${code}`));
    });
  }

  /**
   * Starts the worker thread and waits until it answers. Rejects with EngineError no_provider where this
   * machine's runtime lacks the execution provider.
   */
  static async start(options: EngineOptions): Promise<Engine> {
    const name = options.name ?? 'engine';
    const settings: WorkerSettings = {
      threads: options.threads,
      executionProvider: options.executionProvider ?? 'cpu',
      spin: options.spin ?? true,
      niceness: options.niceness ?? 0,
    };
    const gate = new Gate();
    const workerData: WorkerData = { settings, gate: gate.memory };
    const worker = new Worker(new URL('./worker.mjs', import.meta.url), { workerData, name });
    holdExit();
    const { onThreadLost = () => undefined } = options;
    const engine = new Engine(worker, name, settings.executionProvider, gate, onThreadLost);
    try {
      await engine.call({ kind: 'start', probe: probeFor(settings.executionProvider) });
    } catch (error) {
      await engine.terminate();
      throw error;
    }
    return engine;
  }

  /**
   * Creates the session `id` from an ONNX model, its bytes or the path of its file (which weights in a
   * file beside it need); it stays until `unload` or `close`.
   */
  async load(id: string, model: Uint8Array | string, options: LoadOptions = {}): Promise<void> {
    if (typeof model === 'string') {
      await this.call({ kind: 'load', id, model, options });
      return;
    }
    const bytes = new Uint8Array(model);
    await this.call({ kind: 'load', id, model: bytes, options }, [bytes.buffer]);
  }

  /**
   * What the runtime makes of a model before it runs it, for `load` in an engine with the same execution
   * provider on the same machine: there a session of it takes a fraction of the time.
   */
  async optimise(model: Uint8Array): Promise<Uint8Array> {
    const bytes = new Uint8Array(model);
    const reply = await this.call({ kind: 'optimise', model: bytes }, [bytes.buffer]);
    if ('model' in reply) return reply.model;
    throw new EngineError('crashed', `engine ${this.name} gave no model`);
  }

  async unload(id: string): Promise<void> {
    await this.call({ kind: 'unload', id });
  }

  /** Runs a session; a list in place of options names the outputs wanted. */
  async run(
    id: string,
    feeds: Values,
    options: RunOptions | readonly string[] = {},
  ): Promise<Values> {
    const settings: RunOptions = isList(options) ? { outputs: options } : options;
    const parcel = pack(feeds, settings.move === true);
    return this.values(
      { kind: 'run', id, feeds: parcel.values, options: settings },
      parcel.transfer,
    );
  }

  /**
   * Runs a session whose outputs in `carry` become the inputs of the next call; they stay in the worker,
   * in two buffers that take turns. The other outputs come back. The state is first given by `put(keep, …)`
   * under the input names. A step that fails leaves the state as it was.
   */
  async step(id: string, feeds: Values, options: StepOptions): Promise<Values> {
    const parcel = pack(feeds, options.move === true);
    return this.values({ kind: 'step', id, feeds: parcel.values, options }, parcel.transfer);
  }

  /**
   * Keeps weights and the state of their optimiser in the worker under a key, for `descend`.
   * @param parts which tensors the weights are
   */
  async hold(key: string, start: AdamWStart, parts: readonly FlatPart[]): Promise<void> {
    await this.call({ kind: 'hold', key, start, parts });
  }

  /**
   * Runs a session whose inputs of their names are the weights that are held and whose outputs
   * `gradient.NAME` are the gradients to them (a weight without one has none), then moves the weights by a
   * step of AdamW. The other outputs come back, with `gradient_norm`, the gradients' length before clipping.
   * A run that fails leaves the weights as they were.
   */
  async descend(id: string, feeds: Values, options: DescendOptions): Promise<Values> {
    const parcel = pack(feeds, options.move === true);
    return this.values({ kind: 'descend', id, feeds: parcel.values, options }, parcel.transfer);
  }

  /** Keeps tensors in the worker under a key, replacing what was there. */
  async put(key: string, values: Values, options: { readonly move?: boolean } = {}): Promise<void> {
    const parcel = pack(values, options.move === true);
    await this.call({ kind: 'put', key, values: parcel.values }, parcel.transfer);
  }

  /** Overwrites elements of a resident tensor from `offset` (in elements): a slot of a bank. */
  async patch(key: string, name: string, offset: number, data: TensorData): Promise<void> {
    await this.call({ kind: 'patch', key, name, offset, data });
  }

  async drop(key: string): Promise<void> {
    await this.call({ kind: 'drop', key });
  }

  /** Copies of resident tensors: all under the key, or those named. */
  async read(key: string, names?: readonly string[]): Promise<Values> {
    return this.values({ kind: 'read', key, names });
  }

  async stats(): Promise<EngineStats> {
    const reply = await this.call({ kind: 'stats' });
    if ('stats' in reply) return reply.stats;
    throw new EngineError('crashed', `engine ${this.name} gave no statistics`);
  }

  /** Lets pending calls finish, then ends the worker. */
  async close(): Promise<void> {
    if (this.ended !== undefined) return;
    const done = this.call({ kind: 'close' });
    this.ended = new EngineError('closed', `engine ${this.name} is closed`);
    await done;
    await this.exited;
  }

  /** Rejects pending calls at once and ends the worker after the run it is in, which nothing can cut short. */
  async terminate(): Promise<void> {
    this.gate.abandon();
    this.end(new EngineError('crashed', `engine ${this.name} was ended`));
    const request: Request = { ticket: this.next, call: { kind: 'close' } };
    this.worker.postMessage(request);
    await this.exited;
  }

  private async values(call: Call, transfer: ArrayBuffer[] = []): Promise<Values> {
    const reply = await this.call(call, transfer);
    return 'values' in reply ? reply.values : {};
  }

  private async call(call: Call, transfer: ArrayBuffer[] = []): Promise<Reply> {
    if (this.ended !== undefined) throw this.ended;
    const ticket = this.next;
    this.next += 1;
    const reply = await new Promise<Reply>((resolve, reject) => {
      this.pending.set(ticket, { resolve, reject });
      this.worker.postMessage({ ticket, call }, transfer);
    });
    if (!('failure' in reply)) return reply;
    const { code, message, session } = reply.failure;
    throw new EngineError(code, stripSession(message, session), session);
  }

  private end(error: EngineError): void {
    this.ended ??= error;
    for (const { reject } of this.pending.values()) reject(this.ended);
    this.pending.clear();
  }
}

/** A model to try a provider with that may be missing; the CPU never is. */
function probeFor(provider: ExecutionProvider): Uint8Array | undefined {
  if (provider === 'cpu') return undefined;
  const graph = new Graph('probe');
  graph.output('y', add(graph.input('x', 'float32', [1]), 1));
  return toOnnx(graph);
}

function isList(options: RunOptions | readonly string[]): options is readonly string[] {
  return Array.isArray(options);
}

/** The message without the session that EngineError puts before it. */
function stripSession(message: string, session: string | undefined): string {
  const prefix = `session ${session ?? ''}: `;
  return message.startsWith(prefix) ? message.slice(prefix.length) : message;
}
