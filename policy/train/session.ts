import { toOnnx } from '../tensor/index.ts';
import { flatParts, packFlat, type FlatLayout } from '../nn/flat.ts';
import { elements } from '../nn/params.ts';
import type { Engine, Value, Values } from '../engine/index.ts';
import { trainGraph, type TrainGraphOptions } from './graph.ts';
import { emaDecay, learningRate } from './schedule.ts';

export interface TrainSettings {
  readonly peakRate: number;
  readonly warmup: number;
  readonly totalSteps: number;
  readonly rateFloor: number;
  readonly emaDecay: number;
}

export interface StepResult {
  readonly step: number;
  readonly loss: number;
  readonly actionLoss: number;
  readonly reasoningLoss: number;
  readonly groundingLoss: number;
  readonly gradientNorm: number;
}

/** Everything that a step changes, as flat vectors [P] in the layout's order. */
export interface TrainState {
  readonly step: number;
  readonly theta: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  readonly ema: Float32Array;
}

/** A training graph in an engine with its state resident there; one call of `step` is one update. */
export class TrainSession {
  private readonly engine: Engine;
  private readonly id: string;
  private readonly options: TrainGraphOptions;
  private readonly settings: TrainSettings;
  private readonly resident: Readonly<Record<string, string>>;
  private current: number;

  private constructor(
    engine: Engine,
    id: string,
    options: TrainGraphOptions,
    settings: TrainSettings,
    resident: Readonly<Record<string, string>>,
    step: number,
  ) {
    this.engine = engine;
    this.id = id;
    this.options = options;
    this.settings = settings;
    this.resident = resident;
    this.current = step;
  }

  /**
   * @param weights every parameter of the model by name; the trainable ones start from here unless
   * `state` resumes
   */
  static async create(o: {
    engine: Engine;
    id: string;
    options: TrainGraphOptions;
    settings: TrainSettings;
    weights: (name: string) => Float32Array;
    state?: TrainState;
  }): Promise<TrainSession> {
    const { engine, id, options, settings, weights } = o;
    const layout = options.trainable;
    const graph = trainGraph(options);
    await engine.load(id, toOnnx(graph));
    const start = packFlat(layout, (spec) => weights(spec.name));
    const state = o.state ?? {
      step: 0,
      theta: start,
      m: new Float32Array(layout.size),
      v: new Float32Array(layout.size),
      ema: start.slice(),
    };
    const decay = perParameter(layout, (spec) => (spec.decay ? 1 : 0));
    const { theta, m, v, ema } = state;
    // A graph may see a parameter in another shape: that of one embodiment as a bank of one slot.
    const parts = flatParts(
      layout,
      graph.inputs.map(({ name, tensor: { shape } }) => ({ name, shape })),
    );
    await engine.hold(`${id}.state`, { theta, m, v, ema, decay }, parts);
    const frozen: Record<string, Value> = {};
    for (const { name, tensor } of graph.inputs) {
      if (!name.startsWith('trunk.') && !name.startsWith('head.')) continue;
      if (layout.offsets.has(name)) continue;
      const data = weights(name);
      if (data.length !== elements(tensor.shape)) {
        throw new RangeError(
          `${name} has ${data.length} elements, [${tensor.shape.join(', ')}] needed`,
        );
      }
      frozen[name] = { dtype: 'float32', shape: tensor.shape, data };
    }
    await engine.put(`${id}.frozen`, frozen);
    const resident = Object.fromEntries(
      Object.keys(frozen).map((name) => [name, `${id}.frozen/${name}`]),
    );
    return new TrainSession(engine, id, options, settings, resident, state.step);
  }

  get stepIndex(): number {
    return this.current;
  }

  /**
   * One optimiser step over a batch (the graph's batch inputs by name).
   * @param elapsed share of the allowed time that is used, 0 to 1
   */
  async step(batch: Values, elapsed = 0): Promise<StepResult> {
    const { settings } = this;
    const t = this.current + 1;
    const rates = {
      peak: settings.peakRate,
      warmup: settings.warmup,
      total: settings.totalSteps,
      floor: settings.rateFloor,
    };
    const out = await this.engine.descend(this.id, batch, {
      keep: `${this.id}.state`,
      optimiser: {
        ...this.options.optimiser,
        learningRate: learningRate(this.current, rates, elapsed),
        emaDecay: emaDecay(this.current, settings.emaDecay),
        t,
      },
      resident: this.resident,
    });
    this.current = t;
    const read = (name: string): number => {
      const value = out[name]?.data[0];
      if (typeof value !== 'number') throw new RangeError(`the step gave no ${name}`);
      return value;
    };
    return {
      step: t,
      loss: read('loss'),
      actionLoss: read('action_loss'),
      reasoningLoss: read('reasoning_loss'),
      groundingLoss: read('grounding_loss'),
      gradientNorm: read('gradient_norm'),
    };
  }

  /** The state as it stands, copied out of the engine. */
  async state(): Promise<TrainState> {
    const values = await this.engine.read(`${this.id}.state`, ['theta', 'm', 'v', 'ema']);
    const take = (name: string): Float32Array => {
      const data = values[name]?.data;
      if (!(data instanceof Float32Array)) throw new RangeError(`the state has no ${name}`);
      return data;
    };
    return {
      step: this.current,
      theta: take('theta'),
      m: take('m'),
      v: take('v'),
      ema: take('ema'),
    };
  }

  async close(): Promise<void> {
    await this.engine.unload(this.id);
    await this.engine.drop(`${this.id}.state`);
    await this.engine.drop(`${this.id}.frozen`);
  }
}

function perParameter(
  layout: FlatLayout,
  value: (spec: FlatLayout['specs'][number]) => number,
): Float32Array {
  const out = new Float32Array(layout.size);
  for (const spec of layout.specs) {
    const at = layout.offsets.get(spec.name) ?? 0;
    out.fill(value(spec), at, at + elements(spec.shape));
  }
  return out;
}
