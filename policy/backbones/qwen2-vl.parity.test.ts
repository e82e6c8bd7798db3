import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hold, holdClose, holdEqual, toleranceOf } from '../../test/support/parity.ts';
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
import { Engine, type Value, type Values } from '../engine/index.ts';
import { Graph, gradients, slice, type Tensor } from '../tensor/index.ts';
import { greedy, languageName, qwenVisionShape, visualTokens } from './index.ts';

const tiny = await readTinyQwen();
const { meta, outputs } = tiny;
const folders = Object.keys(meta.folders);

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'qwen2-vl' });
});
afterAll(() => engine.close());

/** Padded positions mean nothing and are stored as 0. */
function counts(name: string): ((index: number) => boolean) | undefined {
  if (!/^(hidden\.|inputs_embeds|logits)/.test(name)) return undefined;
  const width = outputs.at(name).shape.at(-1) ?? 1;
  return (index) => tiny.isReal(index, width);
}

function holdAll(folder: string, results: Values): void {
  for (const [name, got] of Object.entries(results)) {
    const quantity = /^(grad|vision|hidden|generated)/.exec(name)?.[0] ?? name;
    holdClose(
      { fixture: `${TINY_QWEN}/${folder}`, quantity, detail: name },
      got,
      outputs.at(name),
      toleranceOf(meta.tolerance, name),
      counts(name),
    );
  }
}

it('counts the positions of text and images as the reference does', async () => {
  const folder = await openReference(TINY_QWEN, folders[0] ?? '');
  const { positions, deltas } = tiny.positions(qwenVisionShape(folder.config).merge);
  const label = (detail: string) => ({ fixture: TINY_QWEN, quantity: 'positions', detail });
  holdEqual(label('position_ids'), positions, outputs.at('position_ids').data);
  const expected = outputs.at('rope_deltas').data as BigInt64Array;
  holdEqual(label('rope_deltas'), deltas.map(BigInt), expected);
});

describe.each(folders)('%s', (name) => {
  it('sees, reads and learns as the reference does', async () => {
    const folder = await openReference(TINY_QWEN, name);
    const graph = new Graph('prefill');
    const { params, tensors, specs } = watchedParams(graph);
    const { language, vision, seen, prompt } = embedPrompt(graph, params, tiny, folder);
    const decoded = language.decode(params, prompt);
    const logits = language.logits(params, decoded.hidden);
    const loss = nextTokenLoss(graph, tiny, logits);
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
    tiny.grids.forEach((grid, i) => {
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
    const results = await runOnce(engine, graph, { ...weights, ...tiny.feeds(vision.merge) });
    holdAll(name, results);
    const compared = Object.keys(meta.tolerance).filter((key) => key !== 'generated_logits');
    expect([...named.keys()].sort()).toEqual(compared.sort());
  });

  it('goes on as the reference does, over caches in the graph', async () => {
    const folder = await openReference(TINY_QWEN, name);
    const graph = new Graph('greedy');
    const { params, specs } = watchedParams(graph);
    const { language, vision, prompt } = embedPrompt(graph, params, tiny, folder);
    const expected = outputs.at('generated_ids');
    const said = greedy(language, params, {
      prompt,
      start: graph.input('start', 'int64', [tiny.rows]),
      tokens: expected.shape[1] ?? 0,
    });
    graph.output('generated_ids', said.ids);
    graph.output('generated_logits', said.logits);
    const weights = await weightFeeds(folder, specs, languageName);
    const results = await runOnce(engine, graph, { ...weights, ...tiny.feeds(vision.merge) });
    const [ids, scored] = [results['generated_ids'], results['generated_logits']] as [Value, Value];
    holdAll(name, { generated_logits: scored });
    expect(ids.shape).toEqual(expected.shape);
    holdEqual(
      { fixture: `${TINY_QWEN}/${name}`, quantity: 'generated', detail: 'generated_ids' },
      ids.data,
      expected.data,
    );
  });
});

it('all folders hold the same weights', async () => {
  const [first, ...others] = await Promise.all(
    folders.map(async (name) => {
      const folder = await openReference(TINY_QWEN, name);
      const graph = new Graph('weights');
      const { params, specs } = watchedParams(graph);
      const { language, prompt } = embedPrompt(graph, params, tiny, folder);
      language.logits(params, language.decode(params, prompt).hidden);
      return weightFeeds(folder, specs, languageName);
    }),
  );
  for (const other of others) {
    for (const [name, { data }] of Object.entries(first ?? {})) {
      const same = other[name]?.data;
      const error = Array.from(data as Float32Array).filter((x, i) => x !== same?.[i]).length;
      hold({ fixture: TINY_QWEN, quantity: 'weights', detail: name, error, tolerance: 0 });
    }
  }
});
