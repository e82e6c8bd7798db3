import { add, concat, filled, mul, reshape, sub, type Tensor } from '../tensor/index.ts';
import { pulledBack, type Correction } from './ddim.ts';
import { withPrefix, type HeldPrefix } from './held.ts';
import { guidanceWeight } from './prefix.ts';

/** Real-time chunking for flow matching: time runs from 1 (noise) to 0 (data), x̂ = x − time·v. */

/** The network's velocity for x [B, T, A] at flow times f32 [B, T], one an action. */
export type Velocity = (x: Tensor, time: Tensor) => Tensor;

export interface FlowGuide {
  /** What is left of the previous chunk, padded with zeros, [B, T, A], in the model's own units. */
  readonly previous: Tensor;
  /** Prefix weights [B or 1, T]. */
  readonly weights: Tensor;
  /** Largest factor of the correction. */
  readonly most: number;
  readonly correction: Correction;
}

export interface GuidedVelocity {
  /** As the network gives it, [B, T, A]. */
  readonly plain: Tensor;
  /** The chunk that it leads to, [B, T, A]. */
  readonly clean: Tensor;
  /** (previous − clean)·weights. */
  readonly error: Tensor;
  /** The error, or the error pulled back through the network. */
  readonly correction: Tensor;
  readonly guided: Tensor;
}

/** One step's velocity, turned towards the previous chunk. */
export function guidedVelocity(
  x: Tensor,
  time: number,
  velocity: Velocity,
  guide: FlowGuide,
): GuidedVelocity {
  const [batch, length] = x.shape as [number, number, number];
  const plain = velocity(x, filled(x.graph, time, [batch, length]));
  const clean = sub(x, mul(plain, time));
  const weights = reshape(guide.weights, [guide.weights.shape[0] ?? 1, length, 1]);
  const error = mul(sub(guide.previous, clean), weights);
  const correction = guide.correction === 'direct' ? error : pulledBack(clean, x, error);
  const factor = guidanceWeight(time, guide.most);
  return { plain, clean, error, correction, guided: sub(plain, mul(correction, factor)) };
}

export interface FlowOptions {
  readonly steps: number;
  readonly guide?: FlowGuide;
  /**
   * A hard prefix, for networks trained with one: the network sees its actions at time 0.
   */
  readonly prefix?: HeldPrefix;
}

/** Euler's steps from noise x [B, T, A]. Returns the start and the chunk after each step. */
export function flowSample(x: Tensor, velocity: Velocity, options: FlowOptions): Tensor[] {
  const { steps, guide, prefix } = options;
  const chain = [x];
  let current = x;
  for (let k = 0; k < steps; k += 1) {
    const time = 1 - k / steps;
    const held = prefix === undefined ? current : withPrefix(current, prefix);
    const own: Velocity =
      prefix === undefined ? velocity : (y, at) => velocity(y, mul(at, sub(1, prefix.mask)));
    const v =
      guide === undefined
        ? own(held, filled(x.graph, time, held.shape.slice(0, 2)))
        : guidedVelocity(held, time, own, guide).guided;
    const next = add(held, mul(v, -1 / steps));
    current = prefix === undefined ? next : withPrefix(next, prefix);
    chain.push(current);
  }
  return chain;
}

/** A previous chunk [B, L, a] padded with zeros to [B, T, A]. */
export function paddedChunk(previous: Tensor, length: number, actions: number): Tensor {
  const [batch, own, width] = previous.shape as [number, number, number];
  const graph = previous.graph;
  const wide =
    width === actions
      ? previous
      : concat([previous, filled(graph, 0, [batch, own, actions - width])], 2);
  return own === length
    ? wide
    : concat([wide, filled(graph, 0, [batch, length - own, actions])], 1);
}
