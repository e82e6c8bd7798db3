import { add } from './elementwise.ts';
import { GradientError } from './errors.ts';
import type { Gradient, Origin, Piece, Tensor } from './graph.ts';
import { assemble } from './shape.ts';
import { dim, sameShape } from './shapes.ts';
import { filled } from './broadcast.ts';

/** Where differentiation starts: tensors and the gradients that reach them from outside. */
export interface Seed {
  readonly of: Tensor | readonly Tensor[];
  readonly upstream: Tensor | readonly Tensor[];
}

/**
 * Gradients of a scalar (or of the sum of `of`·`upstream`) with respect to any tensors of the graph, by
 * reverse mode: appends nodes to the same graph. A tensor that the target does not depend on gets zeros.
 * Throws GradientError for a target that is no scalar, or a way that leads through a loop.
 */
export function gradients(target: Tensor | Seed, wrt: readonly Tensor[]): Tensor[] {
  const seeds = seedsOf(target);
  const [first] = seeds;
  if (first === undefined) return [];
  const origins = first.of.graph.root.origins;
  const order = ancestors(
    seeds.map((s) => s.of),
    origins,
  );
  const depends = new Set(wrt.map((t) => t.id));
  for (const t of order) {
    if (origins.get(t.id)?.inputs.some((i) => depends.has(i.id)) === true) depends.add(t.id);
  }
  const sums = new Map<number, Accumulator>();
  for (const { of, upstream } of seeds) accumulate(sums, of, upstream);
  for (const t of [...order].reverse()) {
    const origin = origins.get(t.id);
    if (origin === undefined || !depends.has(t.id)) continue;
    // All uses of every output come after the first output, so there the sums are complete.
    if (origin.outputs[0] !== t) continue;
    pull(origin, sums, depends);
  }
  return wrt.map((t) => sums.get(t.id)?.total() ?? filled(t.graph, 0, t.shape, t.dtype));
}

function seedsOf(target: Tensor | Seed): { of: Tensor; upstream: Tensor }[] {
  if ('of' in target) {
    const of = 'id' in target.of ? [target.of] : target.of;
    const upstream = 'id' in target.upstream ? [target.upstream] : target.upstream;
    return of.map((t, i) => {
      const dy = upstream[i];
      if (dy === undefined) throw new GradientError(`output ${i} has no upstream gradient`);
      return { of: t, upstream: dy };
    });
  }
  if (target.shape.some((d) => d !== 1)) {
    throw new GradientError(`a loss is a scalar, not of shape [${target.shape.join(', ')}]`);
  }
  return [{ of: target, upstream: filled(target.graph, 1, target.shape, target.dtype) }];
}

/** Everything the targets were made from, oldest first. */
function ancestors(targets: readonly Tensor[], origins: ReadonlyMap<number, Origin>): Tensor[] {
  const found = new Map<number, Tensor>();
  const waiting = [...targets];
  for (let t = waiting.pop(); t !== undefined; t = waiting.pop()) {
    if (found.has(t.id)) continue;
    found.set(t.id, t);
    const origin = origins.get(t.id);
    if (origin !== undefined) waiting.push(...origin.inputs, ...origin.outputs);
  }
  return [...found.values()].sort((a, b) => a.id - b.id);
}

function pull(origin: Origin, sums: Map<number, Accumulator>, depends: ReadonlySet<number>): void {
  const upstream = origin.outputs.map((o) => sums.get(o.id)?.total());
  if (upstream.every((d) => d === undefined)) return;
  const needed = origin.inputs.map((i) => depends.has(i.id));
  if (!needed.some((n) => n)) return;
  const results = origin.vjp(upstream, needed);
  origin.inputs.forEach((input, i) => {
    const gradient = results[i];
    if (gradient !== undefined && needed[i] === true) accumulate(sums, input, gradient);
  });
}

function accumulate(sums: Map<number, Accumulator>, tensor: Tensor, gradient: Gradient): void {
  const sum = sums.get(tensor.id) ?? new Accumulator(tensor);
  sum.add(gradient);
  sums.set(tensor.id, sum);
}

/** The contributions to one tensor's gradient; pieces that tile an axis become one Concat. */
class Accumulator {
  private readonly tensor: Tensor;
  private readonly whole: Tensor[] = [];
  private readonly pieces: Piece[] = [];
  private sum: Tensor | undefined;

  constructor(tensor: Tensor) {
    this.tensor = tensor;
  }

  add(gradient: Gradient): void {
    if (this.sum !== undefined)
      throw new GradientError('a gradient arrived after its sum was read');
    if (!('graph' in gradient)) {
      this.pieces.push(gradient);
      return;
    }
    if (!sameShape(gradient.shape, this.tensor.shape)) {
      const [is, should] = [gradient.shape.join(), this.tensor.shape.join()];
      throw new GradientError(`a gradient has shape [${is}], its tensor [${should}]`);
    }
    this.whole.push(gradient);
  }

  total(): Tensor {
    this.sum ??= [...this.whole, ...this.layers()].reduce((a, b) => add(a, b));
    return this.sum;
  }

  /** Pieces laid side by side, in as few layers as their overlaps allow. */
  private layers(): Tensor[] {
    const axes = new Set(this.pieces.map((p) => p.axis));
    return [...axes].flatMap((axis) => {
      const sorted = this.pieces.filter((p) => p.axis === axis).sort((a, b) => a.start - b.start);
      const layers: Piece[][] = [];
      for (const piece of sorted) {
        const free = layers.find((layer) => layer.every((p) => endOf(p) <= piece.start));
        if (free === undefined) layers.push([piece]);
        else free.push(piece);
      }
      return layers.map((layer) => assemble(this.tensor, axis, layer));
    });
  }
}

function endOf(piece: Piece): number {
  return piece.start + dim(piece.value.shape, piece.axis);
}
