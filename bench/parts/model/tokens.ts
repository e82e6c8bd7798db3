import type { BaseModel } from '@armature/policy/checkpoint';
import { promptPositions, type ServeGraph, type Signature } from '@armature/policy/divla';
import type { Engine } from '@armature/policy/engine';
import { initialValues } from '@armature/policy/nn';
import { signatureOf } from '@armature/policy/train';
import { trio } from '@armature/sim';
import type { Compared, Figure } from '../../result.ts';
import { quantile, timed } from '../../timing.ts';
import { loadServing, type Serving } from './serving.ts';

const TURNS = 8;
const CALLS = 5;
const STEPS = 5;

/** Views of each kind, in pictures of each size. */
const VIEWS = [
  [1, 0],
  [0, 1],
  [1, 1],
  [2, 0],
  [2, 2],
] as const;
const SIZES = [
  [64, 64],
  [64, 48],
  [32, 32],
] as const;

/**
 * What views and their tokens cost: a chunk, whose decoder reads each view's points alone, and the time to a
 * reasoning's first token, for which the language model reads all tokens of the prompt. All by turns.
 */
export async function costOfTokens(
  engine: Engine,
  base: BaseModel,
  quick: boolean,
): Promise<Compared> {
  const plain = signatureOf(trio.spec);
  const cases = [
    ...VIEWS.map(([external, wrist]): Signature => ({ ...plain, external, wrist })),
    ...SIZES.map(([width, height]): Signature => ({
      ...plain,
      external: 1,
      wrist: 1,
      width,
      height,
    })),
  ];
  const distinct = [
    ...new Map(cases.map((signature) => [JSON.stringify(signature), signature])).values(),
  ];
  const measured: { signature: Signature; act: Timed; prompt: Timed }[] = [];
  for (const signature of distinct) {
    measured.push({
      signature,
      act: await load(engine, base, 'act', signature),
      prompt: await load(engine, base, 'reason', signature),
    });
  }
  for (let turn = 0; turn < (quick ? 1 : TURNS); turn++) {
    for (const { act, prompt } of measured) {
      for (const { serving, times } of [act, prompt]) {
        times.push(...(await timed(CALLS, 1, serving.call)));
      }
    }
  }
  const figures: Figure[] = [];
  const medians = new Map<string, number>();
  for (const { signature, act, prompt } of measured) {
    const { external, wrist, width, height } = signature;
    const tokens = promptPositions(base.config, signature).positions.length;
    const name = `${external} external and ${wrist} wrist views of ${width}×${height}, ${tokens} tokens`;
    const first = quantile(prompt.times, 0.5);
    medians.set(`${external}/${wrist}/${width}x${height}`, first);
    figures.push(
      { name: `${name}: act, ${STEPS} steps`, value: quantile(act.times, 0.5), unit: 'ms' },
      { name: `${name}: to the first word`, value: first, unit: 'ms' },
    );
    await act.serving.close();
    await prompt.serving.close();
  }
  const size = `${plain.width}x${plain.height}`;
  const at = (views: string): number => medians.get(`${views}/${size}`) ?? NaN;
  const ratios = {
    external_view_ms: at('2/0') - at('1/0'),
    wrist_view_ms: at('1/1') - at('1/0'),
  };
  figures.push(
    { name: 'another external view: 65 tokens', value: ratios.external_view_ms, unit: 'ms' },
    { name: 'another wrist view: 17 tokens', value: ratios.wrist_view_ms, unit: 'ms' },
  );
  return { figures, ratios };
}

interface Timed {
  readonly serving: Serving;
  readonly times: number[];
}

async function load(
  engine: Engine,
  base: BaseModel,
  kind: ServeGraph,
  signature: Signature,
): Promise<Timed> {
  const heads = new Map(base.headSpecs.map((spec) => [spec.name, initialValues(spec, 1)]));
  const { config } = base;
  const serving = await loadServing({
    engine,
    id: `tokens, ${kind}, ${JSON.stringify(signature)}`,
    kind,
    base,
    config: { ...config, language: { ...config.language, reasoningTokens: 1 } },
    signature,
    // No token ends it: one token, whatever the picture.
    end: -1,
    actions: trio.spec.action.length,
    steps: STEPS,
    weightOf: (name) => {
      const values = heads.get(name);
      if (values === undefined) throw new RangeError(`there is no head ${name}`);
      return values;
    },
  });
  return { serving, times: [] };
}
