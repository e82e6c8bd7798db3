import { ADAMW_WASM } from './adamw-wasm.ts';
import { EngineError } from './errors.ts';

/** What AdamW goes by from its first step to its last. */
export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Largest global norm of the gradient. */
  readonly clip: number;
}

/** What one step of it goes by. */
export interface AdamWStep extends AdamWOptions {
  readonly learningRate: number;
  /** Share of the moving average that stays, 0 to 1. */
  readonly emaDecay: number;
  /** Number of the step, from 1. */
  readonly t: number;
}

/** What a step changes, and what it needs beside: f32 [P] each. */
const VECTORS = ['theta', 'm', 'v', 'ema', 'gradient', 'decay'] as const;
type Vector = (typeof VECTORS)[number];
/** f32 [P] that steps start from; `decay` is 1 where weight decay applies. */
export type AdamWStart = Readonly<Record<Exclude<Vector, 'gradient'>, Float32Array>>;

const PAGE = 1 << 16;
const LANES = 4;
const MOST_BYTES = 2 ** 32 - PAGE;

const module = new WebAssembly.Module(Buffer.from(ADAMW_WASM, 'base64'));

/**
 * Weights of a model with the state of their optimiser, in memory that one pass walks for a step
 * (`adamw.wat`): in a graph each operator would pass over all of it.
 */
export class AdamWState {
  /** f32 [P], whose values `step` changes; `gradient` is written before it by whoever computes it. */
  readonly vectors: Readonly<Record<Vector, Float32Array>>;
  readonly #bytes: number;
  readonly #step: (...args: number[]) => void;
  readonly #squares: (at: number, bytes: number) => number;

  /** @throws EngineError `bad_value` for vectors of different lengths, or more than 4 GiB of them. */
  constructor(start: AdamWStart) {
    const size = start.theta.length;
    for (const [name, { length }] of Object.entries(start)) {
      if (length === size) continue;
      throw new EngineError('bad_value', `${name} has ${length} values, theta has ${size}`);
    }
    this.#bytes = Math.ceil(size / LANES) * LANES * Float32Array.BYTES_PER_ELEMENT;
    const all = VECTORS.length * this.#bytes;
    if (size === 0 || all > MOST_BYTES) {
      throw new EngineError('bad_value', `${size} weights: from 1 to 4 GiB of state can be kept`);
    }
    const { memory, step, squares } = new WebAssembly.Instance(module).exports as {
      readonly memory: WebAssembly.Memory;
      readonly step: (...args: number[]) => void;
      readonly squares: (at: number, bytes: number) => number;
    };
    memory.grow(Math.ceil(all / PAGE));
    this.#step = step;
    this.#squares = squares;
    const at = (i: number) => new Float32Array(memory.buffer, i * this.#bytes, size);
    this.vectors = Object.fromEntries(VECTORS.map((name, i) => [name, at(i)])) as Record<
      Vector,
      Float32Array
    >;
    for (const [name, values] of Object.entries(start)) this.vectors[name as Vector].set(values);
  }

  /**
   * One AdamW step (Loshchilov & Hutter 2019) by `vectors.gradient`, after clipping it to a global
   * norm, with an exponential moving average of the weights.
   * @returns the gradient's norm before clipping
   */
  step(o: AdamWStep): number {
    const norm = Math.sqrt(this.#squares(VECTORS.indexOf('gradient') * this.#bytes, this.#bytes));
    const factor = Math.min(o.clip / (norm + 1e-6), 1);
    const spread = Math.sqrt(1 / (1 - o.beta2 ** o.t));
    this.#step(
      ...VECTORS.map((_, i) => i * this.#bytes),
      this.#bytes,
      o.beta1,
      factor * (1 - o.beta1),
      o.beta2,
      factor * Math.sqrt(1 - o.beta2),
      o.eps / spread,
      o.learningRate / (1 - o.beta1 ** o.t) / spread,
      o.learningRate * o.weightDecay,
      o.emaDecay,
      1 - o.emaDecay,
    );
    return norm;
  }
}
