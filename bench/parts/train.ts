import { readFile } from 'node:fs/promises';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { Finetune, trainGraph } from '@armature/policy/train';
import { trio } from '@armature/sim';
import { flopsOf } from '../flops.ts';
import { demonstrations, finetuneInput } from '../fresh-policy.ts';
import { matmulRate } from '../matmul.ts';
import type { Figure, PartOptions } from '../result.ts';
import { quantile, timed } from '../timing.ts';

const MODES = { head: 30, policy: 10, lora: 8, full: 8 } as const;
const EPISODES = 6;

/**
 * Training steps as a job runs them, batches included, on simulated demonstrations with two views:
 * `head` and `policy` on features computed once, `lora` and `full` from pictures.
 */
export async function measureTrain({ threads }: PartOptions): Promise<Figure[]> {
  const engine = await Engine.start({ threads, name: 'bench' });
  const base = loadBase(await readFile(baseWeightsUrl('nano')));
  const episodes = await demonstrations(trio, EPISODES);
  const product = await matmulRate(engine);
  const figures: Figure[] = [{ name: 'matrix product', value: product, unit: 'GFLOP/s' }];
  for (const [mode, steps] of Object.entries(MODES) as [keyof typeof MODES, number][]) {
    const input = finetuneInput(engine, base, trio, episodes, { mode, steps: steps + 2 });
    const finetune = await Finetune.create(input);
    const { graph } = finetune;
    if (graph === undefined) throw new Error('a fine-tune with steps has a graph');
    let samples = 0;
    const times = await timed(steps, 2, async () => {
      samples = (await finetune.step()).samples;
    });
    await finetune.close();
    const seconds = quantile(times, 0.5) / 1000;
    const rate = flopsOf(trainGraph(graph)) / seconds / 1e9;
    figures.push(
      { name: `step, mode ${mode}, batch ${samples}`, value: seconds * 1000, unit: 'ms' },
      { name: `mode ${mode}`, value: samples / seconds, unit: 'samples/s' },
      { name: `mode ${mode}`, value: rate, unit: 'GFLOP/s' },
      { name: `mode ${mode}, of the matrix product`, value: (100 * rate) / product, unit: '%' },
    );
  }
  await engine.close();
  return figures;
}
