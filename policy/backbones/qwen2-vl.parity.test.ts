import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readFixtureJson } from '../../test/support/fixtures.ts';
import {
  hold,
  holdClose,
  holdEqual,
  readReference,
  toleranceOf,
} from '../../test/support/parity.ts';
import {
  feedOf,
  openReference,
  runOnce,
  watchedParams,
  weightFeeds,
} from '../../test/support/tiny-models.ts';
import type { SafeTensor } from '../checkpoint/index.ts';
import { Engine, type Value, type Values } from '../engine/index.ts';
import { Graph, crossEntropy, gradients, slice, type Tensor } from '../tensor/index.ts';
import {
  greedy,
  languageModel,
  languageName,
  placeVisual,
  promptMask,
  promptPositions,
  qwenVision,
  qwenVisionShape,
  visualPlaces,
  visualTokens,
  type HuggingFaceModel,
  type VisionGrid,
} from './index.ts';

interface Meta {
  folders: Record<string, string>;
  special_ids: { image_pad: number };
  tolerance: Record<string, number>;
}

const FIXTURE = 'qwen2-vl-tiny';
const meta = (await readFixtureJson(FIXTURE, 'meta.json')) as Meta;
const inputs = await readReference(FIXTURE, 'inputs.safetensors');
const outputs = await readReference(FIXTURE, 'outputs.safetensors');

const ids = inputs.at('input_ids');
const keep = inputs.at('attention_mask');
const [rows = 0, length = 0] = ids.shape;
const grids: VisionGrid[] = Array.from(
  { length: inputs.at('image_grid_thw').shape[0] ?? 0 },
  (_, i) => {
    const [time, height, width] = Array.from({ length: 3 }, (__, k) =>
      Number(inputs.at('image_grid_thw').data[3 * i + k]),
    ) as [number, number, number];
    return { time, height, width };
  },
);
const config = (folder: HuggingFaceModel) => ({
  language: languageModel(folder.config),
  vision: qwenVisionShape(folder.config),
});
const idList = ids.data as BigInt64Array;
const i64 = (shape: readonly number[], data: BigInt64Array): Value => ({
  dtype: 'int64',
  shape,
  data,
});

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'qwen2-vl' });
});
afterAll(() => engine.close());

/** Positions, and what else the prompt's numbers tell. */
function promptOf(merge: number) {
  return promptPositions({
    ids: idList,
    keep: keep.data,
    rows,
    imageToken: meta.special_ids.image_pad,
    merge,
    images: grids,
  });
}

/** The whole model up to its prompt, with every value on the way. */
function build(folder: HuggingFaceModel) {
  const { language, vision } = config(folder);
  const graph = new Graph('qwen');
  const { params, tensors, specs } = watchedParams(graph);
  const given = (name: string, tensor: SafeTensor): Tensor =>
    graph.input(name, feedOf(tensor).dtype, tensor.shape);
  const pixels = given('pixel_values', inputs.at('pixel_values'));
  const seen = qwenVision(params.scope('visual'), vision, grids, pixels);
  const tokens = given('input_ids', ids);
  const places = graph.input('places', 'int64', ids.shape);
  const x = placeVisual(language.embed(params, tokens), seen.merged, places);
  const prompt = {
    x,
    positions: graph.input('positions', 'int64', [3, rows, length]),
    mask: promptMask(given('attention_mask', keep)),
  };
  return { graph, params, tensors, specs, language, vision, seen, prompt, given };
}

function feedsOf(merge: number, weights: Values): Values {
  const { positions, deltas } = promptOf(merge);
  const real = Array.from({ length: rows }, (_, row) =>
    Array.from({ length }, (__, t) => Number(keep.data[row * length + t])).reduce((a, b) => a + b),
  );
  return {
    ...weights,
    input_ids: feedOf(ids),
    attention_mask: feedOf(keep),
    labels: feedOf(inputs.at('labels')),
    pixel_values: feedOf(inputs.at('pixel_values')),
    places: i64(ids.shape, visualPlaces(idList, meta.special_ids.image_pad)),
    positions: i64([3, rows, length], positions),
    start: i64(
      [rows],
      BigInt64Array.from(deltas, (delta, row) => BigInt(delta + (real[row] ?? 0))),
    ),
  };
}

/** Padded positions mean nothing and are stored as 0. */
function isReal(name: string): ((index: number) => boolean) | undefined {
  if (!/^(hidden\.|inputs_embeds|logits)/.test(name)) return undefined;
  const width = outputs.at(name).shape.at(-1) ?? 1;
  return (index) => Number(keep.data[Math.floor(index / width)]) === 1;
}

function holdAll(folder: string, results: Values): void {
  for (const [name, got] of Object.entries(results)) {
    const quantity = /^(grad|vision|hidden|generated)/.exec(name)?.[0] ?? name;
    holdClose(
      { fixture: `${FIXTURE}/${folder}`, quantity, detail: name },
      got,
      outputs.at(name),
      toleranceOf(meta.tolerance, name),
      isReal(name),
    );
  }
}

it('counts the positions of text and images as the reference does', async () => {
  const folder = await openReference(FIXTURE, 'folder');
  const { positions, deltas } = promptOf(config(folder).vision.merge);
  holdEqual(
    { fixture: FIXTURE, quantity: 'positions', detail: 'position_ids' },
    positions,
    outputs.at('position_ids').data,
  );
  holdEqual(
    { fixture: FIXTURE, quantity: 'positions', detail: 'rope_deltas' },
    deltas.map(BigInt),
    outputs.at('rope_deltas').data,
  );
});

describe.each(Object.keys(meta.folders))('%s', (name) => {
  it('sees, reads and learns as the reference does', async () => {
    const folder = await openReference(FIXTURE, name);
    const { graph, params, tensors, specs, language, vision, seen, prompt, given } = build(folder);
    const decoded = language.decode(params, prompt);
    const logits = language.logits(params, decoded.hidden);
    const loss = crossEntropy(
      slice(logits, 1, 0, length - 1),
      slice(given('labels', inputs.at('labels')), 1, 1, length),
    );
    const named = new Map<string, Tensor>([
      ['vision.patch_embed', seen.embedded],
      ...seen.blocks.map((block, i) => [`vision.block${i}`, block] as const),
      ['vision.merged', seen.merged],
      ['inputs_embeds', prompt.x],
      ...decoded.layers.map((layer, i) => [`hidden.layer${i}`, layer] as const),
      ['hidden.norm', decoded.hidden],
      ['logits', logits],
      ['loss', loss],
    ]);
    let start = 0;
    grids.forEach((grid, i) => {
      const end = start + visualTokens(grid, vision.merge);
      named.set(`vision.image${i}`, slice(seen.merged, 0, start, end));
      start = end;
    });
    const learnt = Object.keys(meta.tolerance).filter((key) => key.startsWith('grad.'));
    const wrt = learnt.map((key) => {
      const tensor = tensors.get(key.slice('grad.'.length));
      if (tensor === undefined) throw new RangeError(`the model has no weight for ${key}`);
      return tensor;
    });
    gradients(loss, wrt).forEach((slope, i) => named.set(learnt[i] ?? '', slope));
    for (const [key, tensor] of named) graph.output(key, tensor);
    const weights = await weightFeeds(folder, specs, languageName);
    const results = await runOnce(engine, graph, feedsOf(vision.merge, weights));
    holdAll(name, results);
    const compared = Object.keys(meta.tolerance).filter((key) => key !== 'generated_logits');
    expect([...named.keys()].sort()).toEqual(compared.sort());
  });

  it('goes on as the reference does, over caches in the graph', async () => {
    const folder = await openReference(FIXTURE, name);
    const { graph, params, specs, language, vision, prompt } = build(folder);
    const tokens = outputs.at('generated_ids').shape[1] ?? 0;
    const said = greedy(language, params, {
      prompt,
      start: graph.input('start', 'int64', [rows]),
      tokens,
    });
    graph.output('generated_ids', said.ids);
    graph.output('generated_logits', said.logits);
    const weights = await weightFeeds(folder, specs, languageName);
    const results = await runOnce(engine, graph, feedsOf(vision.merge, weights));
    const { generated_ids: chosen, generated_logits: scored } = results;
    holdAll(name, { generated_logits: scored as Value });
    holdEqual(
      { fixture: `${FIXTURE}/${name}`, quantity: 'generated', detail: 'generated_ids' },
      chosen?.data as BigInt64Array,
      outputs.at('generated_ids').data,
    );
    expect(chosen?.shape).toEqual(outputs.at('generated_ids').shape);
  });
});

it('all folders hold the same weights', async () => {
  const [first, ...others] = await Promise.all(
    Object.keys(meta.folders).map(async (name) => {
      const folder = await openReference(FIXTURE, name);
      return weightFeeds(folder, build(folder).specs, languageName);
    }),
  );
  for (const other of others) {
    for (const [name, value] of Object.entries(first ?? {})) {
      const same = other[name]?.data as Float32Array;
      hold({
        fixture: FIXTURE,
        quantity: 'weights',
        detail: name,
        error: (value.data as Float32Array).filter((x, i) => x !== same[i]).length,
        tolerance: 0,
      });
    }
  }
});
