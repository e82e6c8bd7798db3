import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type BaseModel, writeSafetensors, type SafeTensor } from '@armature/policy/checkpoint';
import { type DivlaConfig, quantiseTrunk, samplerTable } from '@armature/policy/divla';
import type { Engine, Values } from '@armature/policy/engine';
import { initialValues, unpackFlat } from '@armature/policy/nn';
import {
  Finetune,
  signatureOf,
  TrainSession,
  trainGraph,
  type TrainGraphOptions,
} from '@armature/policy/train';
import { trio } from '@armature/sim';
import { demonstrations, finetuneInput } from '../../fresh-policy.ts';
import type { Compared, Figure, PartOptions } from '../../result.ts';
import { latencyFigures, quantile, timed } from '../../timing.ts';
import { PytorchPeer, type Subject, type Way } from './pytorch-peer.ts';
import { loadServing } from './serving.ts';
import { syntheticInputs } from './synthetic.ts';

/** Largest difference to PyTorch's outputs, of what `difference` makes relative. */
const TOLERANCE = 1e-3;
/** Gradients below this share of the largest one are rounding, and so is the direction of their step. */
const SETTLED = 1e-2;
const STEPS = 10;
const MODES = ['head', 'full'] as const;
const SIZES = {
  full: { turns: 6, calls: { head: 8, full: 2, act: 30 } },
  quick: { turns: 1, calls: { head: 2, full: 1, act: 5 } },
} as const;

/** Outputs of one call from the start, by name, and the same call again. */
interface Ours {
  readonly outputs: ReadonlyMap<string, Float32Array>;
  readonly call: () => Promise<unknown>;
  /** Rows of a call. */
  readonly rows: number;
  /** Of an optimiser step. */
  readonly learningRate?: number;
  /** A call with the frozen layers in int8, whose outputs are not PyTorch's. */
  readonly inInt8?: () => Promise<unknown>;
}

/**
 * The training step of modes `head` and `full` and a chunk of ten denoising steps beside the same in PyTorch:
 * the same shapes, weights and inputs, compared before anything is timed, then timed by turns.
 * @throws Error where the outputs differ.
 */
export async function againstPytorch(
  engine: Engine,
  base: BaseModel,
  { threads, quick, scratch }: PartOptions,
): Promise<Compared> {
  const lack = PytorchPeer.lack();
  if (lack !== undefined) {
    process.stderr.write(`${lack}\n`);
    return { figures: [], ratios: {} };
  }
  const { turns, calls } = quick ? SIZES.quick : SIZES.full;
  const ours = await prepare(engine, base, threads, scratch);
  const peer = await PytorchPeer.start(scratch);
  const figures: Figure[] = [];
  const ratios: Record<string, number> = {};
  try {
    for (const what of ['head', 'full', 'act'] as const) {
      const own = ours[what];
      const ways = await agreeing(peer, what, own, figures);
      const times: Record<'ours' | 'int8' | Way, number[]> = {
        ours: [],
        int8: [],
        eager: [],
        compiled: [],
      };
      for (let turn = 0; turn < turns; turn++) {
        times.ours.push(...(await timed(calls[what], 1, own.call)));
        if (own.inInt8 !== undefined) {
          times.int8.push(...(await timed(calls[what], 1, own.inInt8)));
        }
        for (const way of ways) times[way].push(...(await peer.timed(what, way, calls[what])));
      }
      if (own.inInt8 !== undefined) {
        figures.push(...figuresOf(what, own.rows, 'here, frozen layers in int8', times.int8));
      }
      const names = { ours: 'here', eager: `PyTorch ${peer.version}`, compiled: 'torch.compile' };
      for (const way of ['ours', ...ways] as const) {
        figures.push(...figuresOf(what, own.rows, names[way], times[way]));
      }
      for (const way of ways) {
        const quotient = quantile(times.ours, 0.5) / quantile(times[way], 0.5);
        ratios[ratioName(what, way)] = what === 'act' ? quotient : 1 / quotient;
        if (own.inInt8 === undefined) continue;
        const int8 = quantile(times.int8, 0.5) / quantile(times[way], 0.5);
        ratios[ratioName(what, way).replace('latency', 'latency_int8')] = int8;
      }
    }
  } finally {
    await peer.close();
  }
  for (const [name, value] of Object.entries(ratios)) figures.push({ name, value, unit: 'times' });
  return { figures, ratios };
}

function ratioName(what: Subject, way: Way): string {
  const whom = way === 'eager' ? 'pytorch' : 'torch_compile';
  return `${{ head: 'train_head', full: 'train', act: 'act_latency' }[what]}_vs_${whom}`;
}

function figuresOf(what: Subject, rows: number, who: string, times: readonly number[]): Figure[] {
  if (what === 'act') return latencyFigures(`act beside PyTorch, ${STEPS} steps, ${who}`, times);
  const name = `step beside PyTorch, mode ${what}, batch ${rows}, ${who}`;
  const ms = quantile(times, 0.5);
  return [
    { name, value: ms, unit: 'ms' },
    { name, value: (rows * 1000) / ms, unit: 'samples/s' },
  ];
}

/** The ways of PyTorch that there are, each of which gives what is given here. */
async function agreeing(
  peer: PytorchPeer,
  what: Subject,
  own: Ours,
  figures: Figure[],
): Promise<Way[]> {
  const ways: Way[] = [];
  for (const way of ['eager', 'compiled'] as const) {
    if (way === 'compiled' && !peer.compiles) {
      process.stderr.write('torch.compile is not compared with: there is no C++ compiler\n');
      continue;
    }
    const theirs = await peer.check(what, way);
    if (typeof theirs === 'string') {
      process.stderr.write(`torch.compile is not compared with: ${theirs}\n`);
      continue;
    }
    const value = difference(own, theirs);
    if (!(value <= TOLERANCE)) {
      throw new Error(`${what}: PyTorch (${way}) gives something else, by ${value}`);
    }
    figures.push({
      name: `largest difference to PyTorch, ${what}, ${way}`,
      value,
      unit: 'relative',
    });
    ways.push(way);
  }
  return ways;
}

/**
 * The largest difference of two sets of outputs. Losses and actions are relative to their size or to 1, a
 * gradient to its tensor's largest entry or to a hundredth of the largest of all, a weight to the step that
 * it took, where its gradient is no rounding.
 */
function difference(own: Ours, theirs: ReadonlyMap<string, Float32Array>): number {
  const largest = (values: Float32Array): number =>
    values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const gradients = [...own.outputs].filter(([name]) => name.startsWith('gradient.'));
  const steepest = Math.max(0, ...gradients.map(([, values]) => largest(values)));
  let worst = 0;
  for (const [name, values] of own.outputs) {
    // PyTorch has no gradient of what no output depends on.
    const other = theirs.get(name);
    const path = name.replace(/^(weight|gradient)\./, '');
    const slope = own.outputs.get(`gradient.${path}`);
    if (other === undefined) {
      if (slope === undefined || largest(slope) > 0) return Infinity;
      continue;
    }
    const isWeight = name.startsWith('weight.');
    const scale = isWeight
      ? (own.learningRate ?? NaN)
      : name.startsWith('gradient.')
        ? Math.max(largest(values), SETTLED * steepest)
        : Math.max(1, largest(values));
    if (other.length !== values.length) return Infinity;
    values.forEach((value, i) => {
      if (isWeight && Math.abs(slope?.[i] ?? NaN) < SETTLED * steepest) return;
      const apart = Math.abs(value - (other[i] ?? NaN)) / scale;
      worst = Number.isNaN(apart) ? Infinity : Math.max(worst, apart);
    });
  }
  return worst;
}

/** Loads what is run here, and writes the folder that PyTorch reads. */
async function prepare(
  engine: Engine,
  base: BaseModel,
  threads: number,
  folder: string,
): Promise<Record<Subject, Ours>> {
  const heads = new Map(base.headSpecs.map((spec) => [spec.name, initialValues(spec, 1)]));
  const weightOf = (name: string): Float32Array => {
    const weight = base.trunk.get(name) ?? heads.get(name);
    if (weight === undefined) throw new RangeError(`there is no weight ${name}`);
    return weight;
  };
  const episodes = await demonstrations(trio, 3);
  const ours: Partial<Record<Subject, Ours>> = {};
  const modes: Record<string, object> = {};
  for (const mode of MODES) {
    const finetune = await Finetune.create(
      finetuneInput(engine, base, trio, episodes, { mode, steps: 1 }),
    );
    const { graph } = finetune;
    await finetune.close();
    if (graph === undefined) throw new Error('a fine-tune with steps has a graph');
    const prepared = await training(engine, base.config, mode, graph, weightOf);
    await writeFile(path.join(folder, `${mode}.safetensors`), bytesOf(prepared.batch));
    ours[mode] = prepared.ours;
    modes[mode] = prepared.settings;
  }
  const acting = await act(engine, base, weightOf);
  await writeFile(path.join(folder, 'act.safetensors'), bytesOf(acting.feeds));
  const specs = [...base.trunkSpecs, ...base.headSpecs];
  const weights = specs.map(
    ({ name, shape }) => [name, { dtype: 'float32', shape, data: weightOf(name) }] as const,
  );
  await writeFile(path.join(folder, 'weights.safetensors'), bytesOf(Object.fromEntries(weights)));
  const { trainSteps, clip } = base.config.diffusion;
  const table = samplerTable(STEPS, trainSteps);
  const settings = {
    threads,
    config: base.config,
    signature: signatureOf(trio.spec),
    decayed: specs.filter((spec) => spec.decay).map((spec) => spec.name),
    modes,
    act: {
      clip,
      table: Array.from({ length: STEPS }, (_, i) => [...table.slice(5 * i, 5 * i + 5)]),
    },
  };
  await writeFile(path.join(folder, 'settings.json'), JSON.stringify(settings));
  return { ...(ours as Record<(typeof MODES)[number], Ours>), act: acting.ours };
}

async function training(
  engine: Engine,
  config: DivlaConfig,
  mode: (typeof MODES)[number],
  options: TrainGraphOptions,
  weights: (name: string) => Float32Array,
): Promise<{ ours: Ours; batch: Values; settings: object }> {
  const peakRate = 1e-3;
  const emaDecay = 0.99;
  const batch = syntheticInputs(trainGraph(options), config, {
    actions: trio.spec.action.length,
  });
  const session = await TrainSession.create({
    engine,
    id: `beside PyTorch, ${mode}`,
    options,
    settings: { peakRate, warmup: 0, totalSteps: Number.MAX_SAFE_INTEGER, rateFloor: 1, emaDecay },
    weights,
  });
  const first = await session.step(batch);
  const state = await session.state();
  const { trainable, optimiser } = options;
  const gradients = unpackFlat(
    trainable,
    state.m.map((value) => value / (1 - optimiser.beta1)),
  );
  const outputs = new Map([
    [
      'losses',
      Float32Array.of(first.loss, first.actionLoss, first.reasoningLoss, first.gradientNorm),
    ],
    ...[...gradients].map(([name, values]) => [`gradient.${name}`, values] as const),
    ...[...unpackFlat(trainable, state.theta)].map(
      ([name, values]) => [`weight.${name}`, values] as const,
    ),
  ]);
  return {
    batch,
    ours: {
      outputs,
      call: () => session.step(batch),
      rows: options.pictures,
      learningRate: peakRate,
    },
    settings: {
      ...optimiser,
      learningRate: peakRate,
      emaDecay,
      spoken: options.spoken,
      trained: trainable.specs.map((spec) => spec.name),
    },
  };
}

/** A chunk for one row in the graph that serves it. */
async function act(
  engine: Engine,
  base: BaseModel,
  weightOf: (name: string) => Float32Array,
): Promise<{ ours: Ours; feeds: Values }> {
  const common = {
    engine,
    kind: 'act',
    base,
    signature: signatureOf(trio.spec),
    actions: trio.spec.action.length,
    steps: STEPS,
    weightOf,
  } as const;
  const { feeds, call } = await loadServing({ ...common, id: 'beside PyTorch, act' });
  const quantised = quantiseTrunk(base.trunkSpecs, base.trunk, 'int8');
  const int8 = await loadServing({ ...common, id: 'beside PyTorch, act in int8', quantised });
  const actions = (await call())['actions']?.data;
  if (!(actions instanceof Float32Array)) throw new Error('the graph gave no actions');
  const outputs = new Map([['actions', actions]]);
  return { feeds, ours: { outputs, call, rows: 1, inInt8: int8.call } };
}

const DTYPES = { float32: 'F32', int64: 'I64', uint8: 'U8' } as const;

function bytesOf(values: Values): Uint8Array {
  const tensors = Object.entries(values).map(
    ([name, { dtype, shape, data }]): [string, SafeTensor] => {
      if (dtype !== 'float32' && dtype !== 'int64' && dtype !== 'uint8') {
        throw new RangeError(`${name} is ${dtype}`);
      }
      return [name, { dtype: DTYPES[dtype], shape, data }];
    },
  );
  return writeSafetensors(new Map(tensors));
}
