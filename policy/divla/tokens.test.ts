import type { EmbodimentSpec } from '@armature/sdk/contract';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { smallSpec } from '../../test/support/small-policy.ts';
import { imageSize } from '../data/index.ts';
import type { Graph } from '../tensor/index.ts';
import { signatureOf } from '../train/index.ts';
import { nano, serveGraph, type ServeGraph } from './index.ts';

/**
 * The language model reads 64 tokens of an external view, 16 of a wrist view, one more of each that says where its
 * points are, and the instruction's. Counted in the graphs themselves: the decode loop starts from the prompt's keys.
 */
const TEXT = 32;

type Camera = EmbodimentSpec['cameras'][number];

const side = fc.integer({ min: 8, max: 1920 });
const views = (kind: Camera['kind']): fc.Arbitrary<Camera[]> =>
  fc
    .array(fc.record({ width: side, height: side }), { maxLength: nano.maxViews[kind] })
    .map((sizes) => sizes.map((size, i) => ({ name: `${kind}_${i}`, kind, ...size })));
const cameras = fc
  .tuple(views('external'), views('wrist'), fc.boolean())
  .map(([external, wrist, wristFirst]) =>
    wristFirst ? [...wrist, ...external] : [...external, ...wrist],
  )
  .filter((all) => all.length > 0);

/** Keys of the prompt that the decode loop starts with: [rows, heads, width, tokens] of every layer. */
function promptTokens(graph: Graph): number[] {
  const { kvHeads, headDim } = nano.language;
  const started = graph.nodes.filter(({ op }) => op === 'Loop').flatMap(({ inputs }) => inputs);
  return started.flatMap((input) => {
    const [, heads, width, tokens] = input?.shape ?? [];
    const isKey = input?.shape.length === 4 && heads === kvHeads && width === headDim;
    return isKey && tokens !== undefined ? [tokens] : [];
  });
}

const graphOf = (kind: ServeGraph, spec: EmbodimentSpec, rows = 1): Graph =>
  serveGraph(kind, {
    config: nano,
    signature: signatureOf(spec),
    rows,
    slots: 2,
    special: { begin: 0, end: 1, pad: 2 },
  });

it.each(['reason', 'reason_and_act'] as const)(
  '%s: a wrist view costs 16 tokens and an external one 64, whatever the cameras',
  (kind) => {
    fc.assert(
      fc.property(cameras, fc.integer({ min: 1, max: 3 }), (all, rows) => {
        const spec = { ...smallSpec(3), cameras: all };
        const graph = graphOf(kind, spec, rows);
        const external = all.filter((camera) => camera.kind === 'external').length;
        const wrist = all.length - external;
        const { width, height } = imageSize(spec);
        const images = graph.inputs.find(({ name }) => name === 'images');
        expect(images?.tensor.shape).toEqual([rows, all.length, height, width, 3]);
        const expected = 64 * external + 16 * wrist + all.length + TEXT;
        expect(promptTokens(graph)).toEqual(Array(nano.language.layers).fill(expected));
      }),
      { numRuns: 25 },
    );
  },
);

it('a chunk without reasoning reads no prompt', () => {
  const graph = graphOf('act', smallSpec(3, { wrist: true }));
  const names = graph.inputs.map(({ name }) => name);
  expect(names.filter((name) => /^trunk\.(vision|language\.layer)/.test(name))).toEqual([]);
});
