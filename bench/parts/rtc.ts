import { readFile } from 'node:fs/promises';
import { type BaseModel, baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import { type PolicyHandle, PolicyRuntime } from '@armature/policy/runtime';
import { Finetune, type FinishedPolicy, type TrainingEpisode } from '@armature/policy/train';
import { type PolicySession, runClosedLoop, trio } from '@armature/sim';
import { demonstrations, finetuneInput } from '../fresh-policy.ts';
import type { Figure, PartOptions } from '../result.ts';
import { Seams } from './rtc/seams.ts';

/** Steps of a chunk that pass before the robot looks again: the next chunk is asked for then. */
const EXECUTE = 8;
const LONGEST_DELAY = 4;
const SCENES_SEED = 900;

const ways = ['off', 'guided', 'trained'] as const;
type Way = (typeof ways)[number];

const sizes = {
  full: { demos: 50, mode: 'policy', steps: 500, batch: 64, episodes: 60 },
  quick: { demos: 3, mode: 'head', steps: 4, batch: 16, episodes: 2 },
} as const;

/**
 * Real-time chunking in the simulator: a chunk arrives 0 to 4 control steps after what it was made from,
 * and the robot executes the chunk before it meanwhile. Success, and how far the commands bend where a chunk
 * takes over, of chunks that know nothing of one another, guided ones, and ones of a version that was
 * trained with prefixes of up to 4 actions; the first two of a version that was trained without.
 */
export async function measureRtc({ threads, quick }: PartOptions): Promise<Figure[]> {
  const size = quick ? sizes.quick : sizes.full;
  const engine = await Engine.start({ threads, name: 'bench' });
  const base = loadBase(await readFile(baseWeightsUrl('nano')));
  const episodes = await demonstrations(trio, size.demos);
  const { mode, steps, batch } = size;
  const train = (prefix: number): Promise<FinishedPolicy> =>
    trained(engine, base, episodes, { mode, steps, batch_size: batch, prefix_delay_max: prefix });
  const versions = [await train(0), await train(LONGEST_DELAY)] as const;
  const runtime = await PolicyRuntime.create({ engine, base, buckets: [1], slots: 2 });
  const [plain, prefixed] = [await runtime.load(versions[0]), await runtime.load(versions[1])];
  const figures: Figure[] = [];
  for (let delay = 0; delay <= LONGEST_DELAY; delay++) {
    for (const way of ways) {
      const policy = way === 'trained' ? prefixed : plain;
      const seams = new Seams(trio.spec.action.length, policy.manifest.stats.action.std);
      const { rate } = await runClosedLoop({
        embodiment: trio,
        episodes: size.episodes,
        seed: SCENES_SEED,
        variant: 'normal',
        executeSteps: EXECUTE,
        open: (asked) => Promise.resolve(delayed(runtime, policy, { ...asked, way, delay, seams })),
      });
      const name = `${way}, delay ${delay}`;
      figures.push({ name: `${name}: success`, value: 100 * rate, unit: '%' });
      if (seams.count === 0) continue;
      figures.push({ name: `${name}: bend at a seam`, value: seams.bend, unit: 'std' });
    }
  }
  await runtime.close();
  await engine.close();
  return figures;
}

async function trained(
  engine: Engine,
  base: BaseModel,
  episodes: readonly TrainingEpisode[],
  options: Parameters<typeof finetuneInput>[4],
): Promise<FinishedPolicy> {
  const finetune = await Finetune.create(finetuneInput(engine, base, trio, episodes, options));
  while (finetune.stepIndex < finetune.totalSteps) await finetune.step();
  const policy = await finetune.finish();
  await finetune.close();
  return policy;
}

/**
 * A policy whose chunks come late: the first `delay` actions that the simulator gets of each are those
 * that the chunk before it still had for these steps. The first chunk comes to a robot that waits.
 */
function delayed(
  runtime: PolicyRuntime,
  policy: PolicyHandle,
  o: { instruction: string; episode: number; way: Way; delay: number; seams: Seams },
): PolicySession {
  const width = policy.manifest.spec.action.length;
  let before: Float32Array | undefined;
  let asked = 0;
  return {
    act: async ({ images, state, lastCommand }) => {
      const left = before?.subarray(EXECUTE * width);
      const schedule = o.way === 'trained' ? 'trained' : 'exp';
      const [answer] = await runtime.act([
        {
          policy,
          images,
          state,
          instruction: o.instruction,
          seed: o.episode * 1000 + asked,
          ...(lastCommand && { lastCommand }),
          ...(left && o.way !== 'off' && { previous: { actions: left, delay: o.delay, schedule } }),
        },
      ]);
      if (answer === undefined) throw new RangeError('the policy gave no actions');
      asked += 1;
      const chunk = answer.actions.slice();
      if (left !== undefined && before !== undefined) {
        chunk.set(left.subarray(0, o.delay * width));
        const executed = before.subarray((EXECUTE - 2) * width, EXECUTE * width);
        o.seams.add(executed, chunk, o.delay);
      }
      before = chunk;
      return { actions: chunk };
    },
    close: () => Promise.resolve(),
  };
}
