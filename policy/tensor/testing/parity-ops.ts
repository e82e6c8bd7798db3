import {
  abs,
  add,
  attention,
  clamp,
  concat,
  conv1d,
  conv2d,
  convTranspose1d,
  cos,
  crossEntropy,
  div,
  erf,
  exp,
  expand,
  gather,
  gatherElements,
  gelu,
  groupNorm,
  indexSelect,
  layerNorm,
  linear,
  log,
  logSoftmax,
  maskedMse,
  matmul,
  mish,
  mrope,
  mse,
  mul,
  neg,
  pad,
  pow,
  quickGelu,
  reciprocal,
  reduceMax,
  reduceMean,
  reduceSum,
  relu,
  reshape,
  rmsNorm,
  rope,
  rowLinear,
  rsqrt,
  scatterAdd,
  sigmoid,
  silu,
  sin,
  slice,
  softmax,
  softplus,
  split,
  sqrt,
  sub,
  tanh,
  timestepEmbedding,
  transpose,
  upsampleNearest,
  where,
} from '../index.ts';
import type { Tensor } from '../index.ts';

/** How each case of the reference operations is said with this room's operations. For tests only. */

export interface OpCase {
  readonly name: string;
  readonly op: string;
  readonly file: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly differentiable: readonly string[];
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  readonly tolerance: Readonly<Record<string, number>>;
}

/** The cases of index.json; throws if it is not what its README describes. */
export function parseIndex(index: unknown): readonly OpCase[] {
  const { cases } = index as { readonly cases: unknown };
  if (!Array.isArray(cases)) throw new Error('the index has no cases');
  return (cases as readonly OpCase[]).flatMap((c) =>
    layoutsOfOurs.includes(c.op)
      ? [c, { ...c, name: `${c.name} channels last`, op: `${c.op}_channels_last` }]
      : [c],
  );
}

/** Operations that also take channels last, which the cases do not have: run once more that way. */
const layoutsOfOurs: readonly string[] = ['conv2d', 'group_norm'];

type Inputs = Readonly<Record<string, Tensor>>;

const unary: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  pow2: (x) => pow(x, 2),
  sqrt,
  rsqrt,
  exp,
  log,
  tanh,
  sigmoid,
  silu,
  gelu_erf: (x) => gelu(x, 'erf'),
  gelu_tanh: (x) => gelu(x, 'tanh'),
  quick_gelu: quickGelu,
  mish,
  relu,
  softplus,
  neg,
  abs,
  sin,
  cos,
  reciprocal,
  erf,
};

const pairs: Readonly<Record<string, (a: Tensor, b: Tensor) => Tensor>> = {
  add,
  sub,
  mul,
  div,
  matmul,
};

/** The outputs of a case, in the order of its y, or y0, y1, … */
export function applyCase(c: OpCase, inputs: Inputs): readonly Tensor[] {
  const at = (name: string): Tensor => {
    const t = inputs[name];
    if (t === undefined) throw new Error(`${c.name} has no input ${name}`);
    return t;
  };
  const one = unary[c.op];
  if (one !== undefined) return [one(at('x'))];
  const pair = pairs[c.op];
  if (pair !== undefined) return [pair(at('a'), at('b'))];
  const rule = rules[c.op];
  if (rule === undefined) throw new Error(`operation ${c.op} is not known`);
  const y = rule(at, new Attributes(c), inputs);
  return Array.isArray(y) ? (y as readonly Tensor[]) : [y as Tensor];
}

class Attributes {
  private readonly c: OpCase;
  constructor(c: OpCase) {
    this.c = c;
  }
  number(name: string): number {
    const value = this.c.attributes[name];
    if (typeof value !== 'number') throw new Error(`${this.c.name} has no number ${name}`);
    return value;
  }
  numbers(name: string): number[] {
    const value = this.c.attributes[name];
    if (!Array.isArray(value)) throw new Error(`${this.c.name} has no list ${name}`);
    return value as number[];
  }
  pairs(name: string): [number, number][] {
    const value = this.c.attributes[name];
    if (!Array.isArray(value)) throw new Error(`${this.c.name} has no list ${name}`);
    return value as [number, number][];
  }
  text(name: string): string {
    const value = this.c.attributes[name];
    if (typeof value !== 'string') throw new Error(`${this.c.name} has no text ${name}`);
    return value;
  }
  flag(name: string): boolean {
    const value = this.c.attributes[name];
    if (typeof value !== 'boolean') throw new Error(`${this.c.name} has no flag ${name}`);
    return value;
  }
}

type At = (name: string) => Tensor;
type Rule = (at: At, a: Attributes, inputs: Inputs) => Tensor | readonly Tensor[];

const rules: Readonly<Record<string, Rule>> = {
  linear: (at) => linear(at('x'), at('weight'), at('bias')),
  softmax: (at, a) => softmax(at('x'), a.number('axis')),
  log_softmax: (at, a) => logSoftmax(at('x'), a.number('axis')),
  reduce_sum: (at, a) => reduceSum(at('x'), a.numbers('axes'), a.flag('keepdims')),
  reduce_mean: (at, a) => reduceMean(at('x'), a.numbers('axes'), a.flag('keepdims')),
  reduce_max: (at, a) => reduceMax(at('x'), a.numbers('axes'), a.flag('keepdims')),
  layer_norm: (at, a, { weight, bias }) =>
    layerNorm(
      at('x'),
      { ...(weight && { weight }), ...(bias && { bias }) },
      { eps: a.number('eps') },
    ),
  rms_norm: (at, a) => rmsNorm(at('x'), at('weight'), { eps: a.number('eps') }),
  group_norm: (at, a) => {
    const affine = { weight: at('weight'), bias: at('bias') };
    return groupNorm(at('x'), affine, {
      groups: a.number('groups'),
      eps: a.number('eps'),
      layout: 'BCL',
    });
  },
  group_norm_channels_last: (at, a) => {
    const affine = { weight: at('weight'), bias: at('bias') };
    const options = { groups: a.number('groups'), eps: a.number('eps') };
    return swap12(groupNorm(swap12(at('x')), affine, options));
  },
  conv1d: (at, a) =>
    swap12(
      conv1d(swap12(at('x')), at('weight'), {
        stride: a.number('stride'),
        padding: a.number('padding'),
        bias: at('bias'),
        weight: 'oik',
      }),
    ),
  conv_transpose1d: (at, a) =>
    swap12(
      convTranspose1d(swap12(at('x')), at('weight'), {
        stride: a.number('stride'),
        padding: a.number('padding'),
        bias: at('bias'),
        weight: 'iok',
      }),
    ),
  conv2d: (at, a) =>
    conv2d(at('x'), at('weight'), {
      stride: a.number('stride'),
      padding: a.number('padding'),
      bias: at('bias'),
      layout: 'NCHW',
    }),
  conv2d_channels_last: (at, a) => {
    const x = transpose(at('x'), [0, 2, 3, 1]);
    const y = conv2d(x, at('weight'), {
      stride: a.number('stride'),
      padding: a.number('padding'),
      bias: at('bias'),
      weight: 'oihw',
    });
    return transpose(y, [0, 3, 1, 2]);
  },
  upsample_nearest: (at, a) => {
    const x = at('x');
    return upsampleNearest(
      x,
      x.shape.slice(2).map((_, i) => i + 2),
      a.number('factor'),
    );
  },
  embedding: (at) => gather(at('table'), at('ids'), 0),
  gather: (at, a) => gatherElements(at('x'), at('index'), a.number('axis')),
  index_select: (at, a) => indexSelect(at('x'), at('index'), a.number('axis')),
  scatter_add: (at, a) => scatterAdd(at('x'), at('index'), at('src'), a.number('axis')),
  concat: (_, a, inputs) => concat(Object.values(inputs), a.number('axis')),
  split: (at, a) => split(at('x'), a.numbers('sizes'), a.number('axis')),
  slice: (at, a) => {
    const [ends, steps] = [a.numbers('ends'), a.numbers('steps')];
    return a
      .numbers('starts')
      .reduce((x, start, i) => slice(x, i, start, ends[i] ?? 0, steps[i] ?? 1), at('x'));
  },
  pad: (at, a) => pad(at('x'), a.pairs('pads'), a.number('value')),
  transpose: (at, a) => transpose(at('x'), a.numbers('permutation')),
  reshape: (at, a) => reshape(at('x'), a.numbers('shape')),
  expand: (at, a) => expand(at('x'), a.numbers('shape')),
  where: (at) => where(at('cond'), at('a'), at('b')),
  clamp: (at, a) => clamp(at('x'), a.number('min'), a.number('max')),
  cross_entropy: (at, a) => {
    const reduction = a.text('reduction');
    if (reduction !== 'mean' && reduction !== 'sum' && reduction !== 'none') {
      throw new Error(`reduction ${reduction} is not known`);
    }
    return crossEntropy(at('logits'), at('labels'), {
      ignoreIndex: a.number('ignore_index'),
      reduction,
    });
  },
  mse: (at) => mse(at('pred'), at('target')),
  masked_mse: (at, a) =>
    maskedMse(
      at('pred'),
      at('target'),
      at('mask'),
      a.text('reduction').startsWith('over the elements kept') ? 'kept' : 'all',
    ),
  attention: (at, a, { keep }) =>
    attention(at('q'), at('k'), at('v'), { causal: a.flag('causal'), ...(keep && { mask: keep }) }),
  rope: (at, a) => rope(at('x'), at('positions'), a.number('theta')),
  mrope: (at, a) => {
    const [time = 0, height = 0, width = 0] = a.numbers('sections');
    return mrope(at('x'), at('positions'), a.number('theta'), [time, height, width]);
  },
  timestep_embedding: (at, a) => timestepEmbedding(at('t'), a.number('dim')),
  film: (at, a) => {
    const axis = a.text('layout').startsWith('BCL') ? 2 : 1;
    const wide = (t: Tensor) => reshape(t, [...t.shape.slice(0, axis), 1, ...t.shape.slice(axis)]);
    const scale = wide(at('scale'));
    const factor = a.text('form').startsWith('(1+scale)') ? add(scale, 1) : scale;
    return add(mul(factor, at('x')), wide(at('shift')));
  },
  bank_linear: (at) =>
    rowLinear(at('x'), gather(at('weight'), at('slot')), gather(at('bias'), at('slot'))),
  bank_lora: (at, a) => {
    const low = rowLinear(at('x'), gather(at('a'), at('slot')));
    const delta = rowLinear(low, gather(at('b'), at('slot')));
    return add(matmul(at('x'), at('weight')), mul(delta, a.number('scaling')));
  },
};

function swap12(x: Tensor): Tensor {
  return transpose(x, [0, 2, 1]);
}
