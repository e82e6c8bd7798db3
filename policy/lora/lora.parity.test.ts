import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { train } from '../../test/support/adam.ts';
import { readFixtureJson } from '../../test/support/fixtures.ts';
import { holdClose, readReference, toleranceOf } from '../../test/support/parity.ts';
import {
  openReference,
  runOnce,
  watchedParams,
  weightFeeds,
} from '../../test/support/tiny-models.ts';
import {
  TINY_QWEN,
  embedPrompt,
  nextTokenLoss,
  readTinyQwen,
} from '../../test/support/tiny-qwen.ts';
import { languageName, plainProject, qwenVisionShape, type Project } from '../backbones/index.ts';
import { toFloat32 } from '../checkpoint/index.ts';
import { Engine, type Value, type Values } from '../engine/index.ts';
import type { Params, ParamSpec } from '../nn/params.ts';
import { Graph, gradients, type Tensor } from '../tensor/index.ts';
import { adapterConfig, adapterName, bankLora, lora, mergeLora } from './index.ts';

interface Meta {
  scaling: number;
  training: {
    lr: number;
    betas: [number, number];
    eps: number;
    weight_decay: number;
    steps: number;
  };
  tolerance: Record<string, number>;
}

const meta = (await readFixtureJson('lora', 'meta.json')) as Meta;
const outputs = await readReference('lora', 'outputs.safetensors');
const adapter = await readReference('lora', 'adapter', 'adapter_model.safetensors');
const config = adapterConfig(await readFixtureJson('lora', 'adapter', 'adapter_config.json'));
const tiny = await readTinyQwen();
const base = await openReference(TINY_QWEN, 'folder');
const feeds = tiny.feeds(qwenVisionShape(base.config).merge);
const adapters = new Map(
  [...adapter.tensors].map(([name, tensor]) => [adapterName(name), toFloat32(tensor)] as const),
);
const isAdapter = (name: string): boolean => adapters.has(name);
const label = (quantity: string, detail: string) => ({ fixture: 'lora', quantity, detail });

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'lora' });
});
afterAll(() => engine.close());

function logitsOf(graph: Graph, params: Params, project: Project): Tensor {
  const { language, prompt } = embedPrompt(graph, params, tiny, base);
  return language.logits(params, language.decode(params, { ...prompt, project }).hidden);
}

async function feedsOf(specs: readonly ParamSpec[]): Promise<Values> {
  const own = specs.filter(({ name }) => isAdapter(name));
  const frozen = specs.filter(({ name }) => !isAdapter(name));
  const loaded = own.map(({ name, shape }): [string, Value] => [
    name,
    { dtype: 'float32', shape, data: adapters.get(name) ?? new Float32Array() },
  ]);
  return {
    ...feeds,
    ...(await weightFeeds(base, frozen, languageName)),
    ...Object.fromEntries(loaded),
  };
}

function holdLogits(name: string, got: Value | undefined, quantity = 'outputs'): void {
  const want = outputs.at(name);
  const width = want.shape.at(-1) ?? 1;
  holdClose(label(quantity, name), got, want, toleranceOf(meta.tolerance, name), (i) =>
    tiny.isReal(i, width),
  );
}

it('reads what peft wrote', () => {
  expect(config.scaling).toBe(meta.scaling);
  expect([...adapters.keys()].every((name) => name.startsWith('model.layers.'))).toBe(true);
});

describe('an adapter', () => {
  it('acts beside the frozen weights, and its gradients are those of peft', async () => {
    const graph = new Graph('lora');
    const { params, tensors, specs } = watchedParams(graph);
    const logits = logitsOf(graph, params, lora(config, params, plainProject));
    const loss = nextTokenLoss(graph, tiny, logits);
    graph.output('logits', logits);
    graph.output('loss', loss);
    const learnt = Object.keys(meta.tolerance).filter((key) => key.startsWith('grad.'));
    const wrt = learnt.map((key) => {
      const tensor = tensors.get(adapterName(key.slice('grad.'.length)));
      if (tensor === undefined) throw new RangeError(`no adapter for ${key}`);
      return tensor;
    });
    gradients(loss, wrt).forEach((slope, i) => {
      graph.output(learnt[i] ?? '', slope);
    });
    expect(specs.filter(({ name }) => isAdapter(name)).length).toBe(adapters.size);
    const results = await runOnce(engine, graph, await feedsOf(specs));
    holdLogits('logits', results['logits']);
    for (const key of ['loss', ...learnt]) {
      const quantity = key === 'loss' ? 'outputs' : 'gradients';
      const tolerance = toleranceOf(meta.tolerance, key);
      holdClose(label(quantity, key), results[key], outputs.at(key), tolerance);
    }
  });

  it('merges into the weights, and leaves the base as it is without them', async () => {
    const graph = new Graph('merged');
    const { params, specs } = watchedParams(graph);
    graph.output('logits', logitsOf(graph, params, plainProject));
    const plain = await feedsOf(specs);
    holdLogits('logits_base', (await runOnce(engine, graph, plain))['logits']);
    const merged = { ...plain };
    for (const name of adapters.keys()) {
      if (!name.endsWith('.lora_A.weight')) continue;
      const layer = name.slice(0, -'.lora_A.weight'.length);
      const weight = plain[`${layer}.weight`];
      if (weight === undefined) throw new RangeError(`${layer} has no weight`);
      const [a, b] = [adapters.get(name), adapters.get(`${layer}.lora_B.weight`)];
      if (a === undefined || b === undefined) throw new RangeError(`${layer} has half an adapter`);
      const data = mergeLora(config, weight.data as Float32Array, a, b);
      merged[`${layer}.weight`] = { ...weight, data };
    }
    const again = (await runOnce(engine, graph, merged))['logits'];
    holdLogits('logits_merged', again);
    holdLogits('logits', again, 'merged as applied');
    const known = [...outputs.tensors.keys()].filter((key) => key.startsWith('merged.'));
    for (const key of known) {
      const tolerance = toleranceOf(meta.tolerance, key);
      const got = merged[languageName(key.slice('merged.'.length))];
      holdClose(label('merged weights', key), got, outputs.at(key), tolerance);
    }
    expect(known.length).toBeGreaterThan(0);
  });

  it('learns as peft trains it', async () => {
    const { training } = meta;
    const order = new Map<string, ParamSpec>();
    const frozen = new Graph('frozen');
    const watched = watchedParams(frozen);
    logitsOf(frozen, watched.params, lora(config, watched.params, plainProject));
    for (const spec of watched.specs) if (isAdapter(spec.name)) order.set(spec.name, spec);
    const batch = await feedsOf(watched.specs);
    const expected = outputs.at('train.losses');
    const { losses } = await train(engine, {
      learningRate: training.lr,
      betas: training.betas,
      eps: training.eps,
      weightDecay: training.weight_decay,
      // One step more tells the loss after the last.
      steps: training.steps + 1,
      specs: [...order.values()],
      start: (name) => adapters.get(name) ?? new Float32Array(),
      feeds: () => batch,
      loss: (graph, params) =>
        nextTokenLoss(graph, tiny, logitsOf(graph, params, lora(config, params, plainProject))),
    });
    holdClose(
      label('five steps', 'train.losses'),
      { shape: [losses.length], data: losses },
      expected,
      toleranceOf(meta.tolerance, 'train.losses'),
    );
  });
});

it('adapters of a bank act on their own rows, whatever the other slots hold', async () => {
  const slots = 3;
  const used = 1;
  const graph = new Graph('bank');
  const { params, specs } = watchedParams(graph);
  const slot = graph.input('slot', 'int64', [tiny.rows]);
  graph.output(
    'logits',
    logitsOf(graph, params, bankLora(config, params, slots, slot, plainProject)),
  );
  const frozen = specs.filter(({ name }) => !/\.lora_[AB]$/.test(name));
  const banks = specs
    .filter(({ name }) => /\.lora_[AB]$/.test(name))
    .map(({ name, shape }): [string, Value] => {
      const [, rows = 0, columns = 0] = shape;
      const own = adapters.get(`${name}.weight`) ?? new Float32Array();
      // peft stores both matrices [out, in]; a bank holds them [in, out].
      const turned = own.map((_, i) => own[(i % columns) * rows + Math.floor(i / columns)] ?? NaN);
      const data = new Float32Array(slots * turned.length).fill(NaN);
      data.set(turned, used * turned.length);
      data.fill(0, 2 * turned.length);
      return [name, { dtype: 'float32', shape, data }];
    });
  const given = { ...(await feedsOf(frozen)), ...Object.fromEntries(banks) };
  const slotsOf = (values: number[]): Value => ({
    dtype: 'int64',
    shape: [tiny.rows],
    data: BigInt64Array.from(values, BigInt),
  });
  const all = Array.from({ length: tiny.rows }, () => used);
  const together = await runOnce(engine, graph, { ...given, slot: slotsOf(all) });
  holdLogits('logits', together['logits'], 'bank');
  // The first row without an adapter, the others with theirs.
  const mixed = await runOnce(engine, graph, { ...given, slot: slotsOf([2, ...all.slice(1)]) });
  const width = outputs.at('logits').shape.at(-1) ?? 1;
  const first = (i: number): boolean => i < tiny.length * width;
  for (const [name, ownRow] of [
    ['logits_base', true],
    ['logits', false],
  ] as const) {
    holdClose(
      label('mixed bank', name),
      mixed['logits'],
      outputs.at(name),
      toleranceOf(meta.tolerance, name),
      (i) => tiny.isReal(i, width) && first(i) === ownRow,
    );
  }
});
