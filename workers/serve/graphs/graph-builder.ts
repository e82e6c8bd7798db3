import { Worker } from 'node:worker_threads';
import { Engine, EngineError, type ExecutionProvider } from '@armature/policy/engine';
import type {
  BuiltGraph,
  EmittedGraph,
  GraphBase,
  GraphRequest,
  GraphSource,
} from '@armature/policy/runtime';

export interface GraphQuestion {
  readonly ticket: number;
  readonly wanted: GraphRequest;
}

export type GraphAnswer =
  | { readonly ticket: number; readonly model: Uint8Array; readonly inputs: readonly string[] }
  | { readonly ticket: number; readonly failure: string };

export interface GraphBuilderOptions {
  readonly base: GraphBase;
  /** That of the engines that the graphs are for. */
  readonly executionProvider?: ExecutionProvider;
  /** Told when one of its threads ends by itself: no graph can be made from then on. */
  readonly onThreadLost?: (error: Error) => void;
}

interface Pending {
  readonly resolve: (graph: EmittedGraph) => void;
  readonly reject: (error: Error) => void;
}

/** As far as engines give way to the gateway, and no further: a robot waits for its first graph. */
export const GRAPH_NICENESS = 5;

/**
 * Makes graphs beside the engines: written in one thread, rearranged by the runtime in another. What is
 * left to do for the engine that runs them is a third to a sixth of what making them there takes.
 */
export class GraphBuilder implements GraphSource {
  private readonly thread: Worker;
  private readonly engine: Engine;
  private readonly pending = new Map<number, Pending>();
  private next = 0;
  private ended: Error | undefined;

  private constructor(thread: Worker, engine: Engine, onThreadLost: (error: Error) => void) {
    this.thread = thread;
    this.engine = engine;
    thread.on('message', (answer: GraphAnswer) => {
      const pending = this.pending.get(answer.ticket);
      this.pending.delete(answer.ticket);
      if ('model' in answer) pending?.resolve(answer);
      else pending?.reject(new EngineError('load_failed', answer.failure));
    });
    const lose = (error: Error): void => {
      if (this.ended === undefined) onThreadLost(error);
      this.end(error);
    };
    thread.on('error', lose);
    thread.on('exit', (code) => lose(new Error(`the graph thread ended with code ${code}`)));
  }

  static async start(options: GraphBuilderOptions): Promise<GraphBuilder> {
    const { base, executionProvider, onThreadLost = () => undefined } = options;
    const engine = await Engine.start({
      threads: 1,
      name: 'graphs',
      niceness: GRAPH_NICENESS,
      onThreadLost,
      ...(executionProvider === undefined ? {} : { executionProvider }),
    });
    const workerData: GraphBase = {
      config: base.config,
      trunk: base.trunk,
      trunkSpecs: base.trunkSpecs,
    };
    const url = new URL('./worker.mjs', import.meta.url);
    const thread = new Worker(url, { workerData, name: 'graph-writer' });
    return new GraphBuilder(thread, engine, onThreadLost);
  }

  /** @throws EngineError `crashed` once its threads have ended. */
  async build(wanted: GraphRequest): Promise<BuiltGraph> {
    const { model, inputs } = await this.write(wanted);
    return { model: await this.engine.optimise(model), inputs, optimised: true };
  }

  async close(): Promise<void> {
    this.end(new Error('the graph builder is closed'));
    await this.thread.terminate();
    await this.engine.close();
  }

  private write(wanted: GraphRequest): Promise<EmittedGraph> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) return reject(unavailable(this.ended));
      const ticket = this.next;
      this.next += 1;
      this.pending.set(ticket, { resolve, reject });
      const question: GraphQuestion = { ticket, wanted };
      this.thread.postMessage(question);
    });
  }

  private end(error: Error): void {
    this.ended ??= error;
    for (const { reject } of this.pending.values()) reject(unavailable(this.ended));
    this.pending.clear();
  }
}

function unavailable(cause: Error): EngineError {
  return new EngineError('crashed', `no graph can be made any more: ${cause.message}`);
}
