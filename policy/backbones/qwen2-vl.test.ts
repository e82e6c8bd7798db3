import { afterAll, beforeAll, expect, it } from 'vitest';
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
import { largestDifference } from '../../test/support/parity.ts';
import { Engine, type Values } from '../engine/index.ts';
import { Graph, gradients } from '../tensor/index.ts';
import { greedy, languageName, type HuggingFaceModel } from './index.ts';

/** Tied embeddings, as the published 2B has them, from whichever folder the reference gives. */

const EMBEDDING = 'model.embed_tokens.weight';
const OUTPUT = 'lm_head.weight';

const tiny = await readTinyQwen();
const folder = await openReference(TINY_QWEN, Object.keys(tiny.meta.folders)[0] ?? '');

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'tied' });
});
afterAll(() => engine.close());

/** The folder without an output layer of its own, its config saying so. */
function tiedFolder({ config, tensors, read }: HuggingFaceModel): HuggingFaceModel {
  const left = [...tensors].filter(([name]) => name !== OUTPUT);
  return { config: withTied(config, true), tensors: new Map(left), read };
}

/** The folder with the embedding table written a second time, as the output layer. */
function copiedFolder({ config, tensors, read }: HuggingFaceModel): HuggingFaceModel {
  const file = tensors.get(EMBEDDING);
  const entry = file?.entries.get(EMBEDDING);
  if (file === undefined || entry === undefined) throw new RangeError(`no ${EMBEDDING}`);
  const copy = { ...file, entries: new Map([[OUTPUT, entry]]) };
  return {
    config: withTied(config, false),
    tensors: new Map(tensors).set(OUTPUT, copy),
    read: (name, range) => read(name === OUTPUT ? EMBEDDING : name, range),
  };
}

function withTied(config: HuggingFaceModel['config'], tied: boolean): HuggingFaceModel['config'] {
  return { ...config, tie_word_embeddings: tied };
}

async function outputsOf(model: HuggingFaceModel): Promise<Values> {
  const graph = new Graph('tied');
  const { params, tensors, specs } = watchedParams(graph);
  const { language, vision, prompt } = embedPrompt(graph, params, tiny, model);
  const logits = language.logits(params, language.decode(params, prompt).hidden);
  const tables = [EMBEDDING, OUTPUT].flatMap((name) => {
    const tensor = tensors.get(name);
    return tensor === undefined ? [] : [{ name, tensor }];
  });
  const slopes = gradients(
    nextTokenLoss(graph, tiny, logits),
    tables.map(({ tensor }) => tensor),
  );
  tables.forEach(({ name }, i) => {
    graph.output(`grad.${name}`, slopes[i] ?? logits);
  });
  const said = greedy(language, params, {
    prompt,
    start: graph.input('start', 'int64', [tiny.rows]),
    tokens: tiny.outputs.at('generated_ids').shape[1] ?? 0,
  });
  graph.output('logits', logits);
  graph.output('ids', said.ids);
  graph.output('generated_logits', said.logits);
  const weights = await weightFeeds(model, specs, languageName);
  return runOnce(engine, graph, { ...weights, ...tiny.feeds(vision.merge) });
}

it('a Qwen2-VL with tied embeddings is one whose output layer is a copy of the table', async () => {
  const [tied, copied] = [
    await outputsOf(tiedFolder(folder)),
    await outputsOf(copiedFolder(folder)),
  ];
  const of = (values: Values, name: string): Float32Array => {
    const data = values[name]?.data;
    if (!(data instanceof Float32Array)) throw new RangeError(`no ${name}`);
    return data;
  };
  expect(tied['ids']?.data).toEqual(copied['ids']?.data);
  for (const name of ['logits', 'generated_logits']) {
    expect(largestDifference(of(tied, name), of(copied, name))).toBeLessThan(1e-4);
  }
  // What the table learns in both its places.
  const output = of(copied, `grad.${OUTPUT}`);
  const sum = of(copied, `grad.${EMBEDDING}`).map((slope, i) => slope + (output[i] ?? NaN));
  expect(Math.max(...output.map(Math.abs))).toBeGreaterThan(1e-3);
  expect(largestDifference(of(tied, `grad.${EMBEDDING}`), sum)).toBeLessThan(1e-5);
  expect(tied).not.toHaveProperty([`grad.${OUTPUT}`]);
});

it('a config that ties embeddings asks the folder for no output layer, another for its own', async () => {
  const untied = { ...tiedFolder(folder), config: withTied(folder.config, false) };
  await expect(outputsOf(untied)).rejects.toThrow(OUTPUT);
});
