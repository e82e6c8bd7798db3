import { afterAll, beforeAll, expect, it } from 'vitest';
import { readFixtureJson } from '../../test/support/fixtures.ts';
import { holdClose, readReference, toleranceOf } from '../../test/support/parity.ts';
import {
  feedOf,
  openReference,
  runOnce,
  watchedParams,
  weightFeeds,
} from '../../test/support/tiny-models.ts';
import { Engine } from '../engine/index.ts';
import { Graph, gradients, type Tensor } from '../tensor/index.ts';
import { siglip, siglipName, siglipPool, siglipShape, siglipTokens } from './index.ts';

interface Meta {
  tokens: number;
  folders: Record<string, string>;
  tolerance: Record<string, number>;
}

const FIXTURE = 'siglip-tiny';
const meta = (await readFixtureJson(FIXTURE, 'meta.json')) as Meta;
const inputs = await readReference(FIXTURE, 'inputs.safetensors');
const outputs = await readReference(FIXTURE, 'outputs.safetensors');

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'siglip' });
});
afterAll(() => engine.close());

it.each(Object.keys(meta.folders))('%s sees and learns as the reference does', async (name) => {
  const folder = await openReference(FIXTURE, name);
  const shape = siglipShape(folder.config);
  expect(siglipTokens(shape)).toBe(meta.tokens);
  const graph = new Graph('siglip');
  const { params, tensors, specs } = watchedParams(graph);
  const [pixels, dLast, dPool] = ['pixel_values', 'd_last_hidden_state', 'd_pooler_output'].map(
    (key) => graph.input(key, 'float32', inputs.at(key).shape),
  ) as [Tensor, Tensor, Tensor];
  const seen = siglip(params, shape, pixels);
  const pooled = siglipPool(params, shape, seen.last);
  const named = new Map<string, Tensor>([
    ['hidden.embeddings', seen.embedded],
    ...seen.layers.map((layer, i) => [`hidden.layer${i}`, layer] as const),
    ['last_hidden_state', seen.last],
    ['pooler_output', pooled],
  ]);
  const learnt = Object.keys(meta.tolerance).filter((key) => key.startsWith('grad.'));
  const wrt = learnt.map((key) => {
    const own = key.replace(/^grad\.(vision_model\.)?/, '');
    const tensor = own === 'pixel_values' ? pixels : tensors.get(own);
    if (tensor === undefined) throw new RangeError(`the encoder has no weight for ${key}`);
    return tensor;
  });
  const upstream = [dLast, dPool];
  gradients({ of: [seen.last, pooled], upstream }, wrt).forEach((slope, i) => {
    named.set(learnt[i] ?? '', slope);
  });
  for (const [key, tensor] of named) graph.output(key, tensor);
  const whole = [...folder.tensors.keys()].some((key) => key.startsWith('text_model.'));
  const weights = await weightFeeds(folder, specs, (key) => siglipName(key, whole));
  const given = [...inputs.tensors].map(([key, tensor]) => [key, feedOf(tensor)] as const);
  const results = await runOnce(engine, graph, { ...weights, ...Object.fromEntries(given) });
  expect(Object.keys(results).sort()).toEqual(Object.keys(meta.tolerance).sort());
  for (const [key, got] of Object.entries(results)) {
    holdClose(
      {
        fixture: `${FIXTURE}/${name}`,
        quantity: key.startsWith('grad.') ? 'gradients' : 'outputs',
        detail: key,
      },
      got,
      outputs.at(key),
      toleranceOf(meta.tolerance, key),
    );
  }
});
