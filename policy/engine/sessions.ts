import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { AdamWState, type AdamWStart } from './adamw.ts';
import { EngineError } from './errors.ts';
import type {
  DescendOptions,
  EngineStats,
  LoadOptions,
  RunOptions,
  StepOptions,
  WorkerSettings,
} from './protocol.ts';
import type { FlatPart } from '../nn/flat.ts';
import { Residents, toOrt, toValue } from './residents.ts';
import type { TensorData } from '../tensor/index.ts';
import type { Values } from './value.ts';

interface Loaded {
  readonly session: InferenceSession;
  readonly profiled: boolean;
  readonly loadMs: number;
  runs: number;
  runMs: number;
  lastMs: number;
}

/** Weights with the state of their optimiser, and tensors that are parts of its vectors. */
interface Held {
  readonly state: AdamWState;
  readonly weights: ReadonlyMap<string, OrtTensor>;
  /** By output. */
  readonly gradients: ReadonlyMap<string, OrtTensor>;
}

/** The sessions of one worker thread and the tensors that live beside them. One call at a time. */
export class Sessions {
  private readonly settings: WorkerSettings;
  private readonly loaded = new Map<string, Loaded>();
  private readonly residents = new Residents();
  private readonly held = new Map<string, Held>();

  constructor(settings: WorkerSettings) {
    this.settings = settings;
  }

  /** Throws EngineError no_provider if the model makes no session on the execution provider. */
  async probe(model: Uint8Array): Promise<void> {
    try {
      const session = await InferenceSession.create(model, sessionOptions(this.settings, {}));
      await session.release();
    } catch (error) {
      const problem = `no session on ${this.settings.executionProvider}: ${String(error)}`;
      throw new EngineError('no_provider', problem);
    }
  }

  /** The model as this runtime rearranges it for these settings, whose sessions are quick to make. */
  async optimise(model: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    const folder = await mkdtemp(join(tmpdir(), 'armature-graph-'));
    try {
      const path = join(folder, 'optimised.onnx');
      const settings = sessionOptions(this.settings, { prepack: false });
      const session = await orThrow('load_failed', 'optimised', () =>
        InferenceSession.create(model, { ...settings, optimizedModelFilePath: path }),
      );
      await session.release();
      return new Uint8Array(await readFile(path));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async load(id: string, model: Uint8Array | string, options: LoadOptions): Promise<void> {
    if (this.loaded.has(id)) throw new EngineError('load_failed', 'is loaded already', id);
    const started = performance.now();
    const settings = sessionOptions(this.settings, options);
    // A model in a file is a large one. Laying its values out beforehand would keep room for them twice: the
    // first run's, and one block of the layout's.
    const session = await orThrow('load_failed', id, () =>
      typeof model === 'string'
        ? InferenceSession.create(model, { ...settings, enableMemPattern: false })
        : InferenceSession.create(model, settings),
    );
    const loadMs = performance.now() - started;
    const profiled = options.profile !== undefined;
    this.loaded.set(id, { session, profiled, loadMs, runs: 0, runMs: 0, lastMs: 0 });
  }

  async unload(id: string): Promise<void> {
    const { session, profiled } = this.find(id);
    this.loaded.delete(id);
    if (profiled) session.endProfiling();
    await orThrow('run_failed', id, () => session.release());
  }

  async run(id: string, feeds: Values, options: RunOptions): Promise<Values> {
    const loaded = this.find(id);
    const inputs = this.bind(id, feeds, options.resident ?? {});
    const wanted = options.outputs ?? loaded.session.outputNames;
    const store = options.store ?? {};
    const fetches = Object.fromEntries([...wanted, ...Object.keys(store)].map((n) => [n, null]));
    const results = await this.timed(id, loaded, inputs, fetches);
    for (const [output, address] of Object.entries(store)) {
      this.residents.set(address, resultOf(id, results, output));
    }
    const back = wanted.filter((name) => store[name] === undefined);
    return valuesOf(id, results, back);
  }

  async step(id: string, feeds: Values, options: StepOptions): Promise<Values> {
    const loaded = this.find(id);
    const carried = Object.entries(options.carry);
    const state = this.residents.doubled(
      options.keep,
      carried.map(([, input]) => input),
    );
    const inputs = this.bind(id, feeds, options.resident ?? {});
    for (const [input, pair] of state) inputs[input] = pair.now;
    const fetches: Record<string, OrtTensor | null> = {};
    for (const name of loaded.session.outputNames) {
      const input = options.carry[name];
      fetches[name] = input === undefined ? null : (state.get(input)?.next ?? null);
    }
    for (const [output] of carried) {
      if (!(output in fetches)) throw new EngineError('run_failed', `has no output ${output}`, id);
    }
    const results = await this.timed(id, loaded, inputs, fetches);
    // Only now: a step that failed leaves the state as it was.
    this.residents.turn(options.keep, state);
    const back = loaded.session.outputNames.filter((name) => options.carry[name] === undefined);
    return valuesOf(id, results, back);
  }

  async descend(id: string, feeds: Values, options: DescendOptions): Promise<Values> {
    const loaded = this.find(id);
    const { inputNames, outputNames } = loaded.session;
    const held = this.held.get(options.keep);
    if (held === undefined) {
      throw new EngineError('unknown_resident', `nothing is held as ${options.keep}`, id);
    }
    const inputs = this.bind(id, feeds, options.resident ?? {});
    const wanted = new Set(inputNames);
    for (const [name, tensor] of held.weights) if (wanted.has(name)) inputs[name] = tensor;
    const fetches: Record<string, OrtTensor | null> = Object.fromEntries(
      outputNames.map((name) => [name, held.gradients.get(name) ?? null]),
    );
    const results = await this.timed(id, loaded, inputs, fetches);
    // Only now: a run that failed leaves the weights as they were.
    const norm = held.state.step(options.optimiser);
    const back = outputNames.filter((name) => !held.gradients.has(name));
    return {
      ...valuesOf(id, results, back),
      gradient_norm: { dtype: 'float32', shape: [], data: Float32Array.of(norm) },
    };
  }

  hold(key: string, start: AdamWStart, parts: readonly FlatPart[]): void {
    const state = new AdamWState(start);
    const { theta, gradient } = state.vectors;
    const values = Object.entries(state.vectors).map(
      ([name, data]) => [name, { dtype: 'float32', shape: [data.length], data }] as const,
    );
    this.put(key, Object.fromEntries(values));
    this.held.set(key, {
      state,
      weights: new Map(parts.map((part) => [part.name, partOf(theta, part)])),
      gradients: new Map(parts.map((part) => [`gradient.${part.name}`, partOf(gradient, part)])),
    });
  }

  put(key: string, values: Values): void {
    this.held.delete(key);
    this.residents.put(key, values);
  }

  patch(key: string, name: string, offset: number, data: TensorData): void {
    this.residents.patch(key, name, offset, data);
  }

  drop(key: string): void {
    this.held.delete(key);
    this.residents.drop(key);
  }

  read(key: string, names: readonly string[] | undefined): Values {
    return this.residents.read(key, names);
  }

  stats(): EngineStats {
    const sessions = [...this.loaded].map(([id, { loadMs, runs, runMs, lastMs }]) => {
      return { id, loadMs, runs, runMs, lastMs };
    });
    return { sessions, residentBytes: this.residents.bytes() };
  }

  async close(): Promise<void> {
    for (const id of [...this.loaded.keys()]) await this.unload(id);
    this.residents.clear();
    this.held.clear();
  }

  private find(id: string): Loaded {
    const loaded = this.loaded.get(id);
    if (loaded === undefined) throw new EngineError('unknown_session', 'was never loaded', id);
    return loaded;
  }

  private bind(
    id: string,
    feeds: Values,
    resident: Readonly<Record<string, string>>,
  ): Record<string, OrtTensor> {
    const inputs: Record<string, OrtTensor> = {};
    for (const [name, value] of Object.entries(feeds)) inputs[name] = toOrt(value);
    for (const [name, address] of Object.entries(resident)) {
      inputs[name] = this.residents.get(address, id);
    }
    return inputs;
  }

  private async timed(
    id: string,
    loaded: Loaded,
    inputs: Record<string, OrtTensor>,
    fetches: Record<string, OrtTensor | null>,
  ): Promise<InferenceSession.ReturnType> {
    const started = performance.now();
    const results = await orThrow('run_failed', id, () => loaded.session.run(inputs, fetches));
    loaded.lastMs = performance.now() - started;
    loaded.runMs += loaded.lastMs;
    loaded.runs += 1;
    return results;
  }
}

/** A part of a flat vector, on the same memory. @throws EngineError `bad_value` where it lies beyond. */
function partOf(vector: Float32Array, { name, shape, offset }: FlatPart): OrtTensor {
  const size = shape.reduce((product, side) => product * side, 1);
  if (offset < 0 || offset + size > vector.length) {
    throw new EngineError('bad_value', `${name} ends at ${offset + size} of ${vector.length}`);
  }
  return toOrt({ dtype: 'float32', shape, data: vector.subarray(offset, offset + size) });
}

function sessionOptions(
  settings: WorkerSettings,
  options: LoadOptions,
): InferenceSession.SessionOptions {
  const profile =
    options.profile === undefined
      ? {}
      : { enableProfiling: true, profileFilePrefix: options.profile };
  return {
    executionProviders: [settings.executionProvider],
    intraOpNumThreads: settings.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: options.optimised === true ? 'disabled' : 'all',
    enableCpuMemArena: true,
    enableMemPattern: true,
    logSeverityLevel: 3,
    extra: {
      session: {
        intra_op: { allow_spinning: settings.spin ? '1' : '0' },
        // Processors without VNNI would saturate sums of 8-bit products.
        x64quantprecision: '1',
        disable_prepacking: options.prepack === false ? '1' : '0',
        // Threads that spin do so during a run only, never while the engine waits for work.
        force_spinning_stop: '1',
      },
    },
    ...profile,
  };
}

async function orThrow<T>(
  code: 'load_failed' | 'run_failed',
  id: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new EngineError(code, error instanceof Error ? error.message : String(error), id);
  }
}

function valuesOf(
  id: string,
  results: InferenceSession.ReturnType,
  names: readonly string[],
): Values {
  return Object.fromEntries(names.map((name) => [name, toValue(resultOf(id, results, name))]));
}

function resultOf(id: string, results: InferenceSession.ReturnType, name: string): OrtTensor {
  const value = results[name];
  if (value instanceof OrtTensor) return value;
  throw new EngineError('run_failed', `has no output ${name}`, id);
}
