import { readFile } from 'node:fs/promises';
import { baseWeightsUrl, loadBase } from '@armature/policy/checkpoint';
import { Engine } from '@armature/policy/engine';
import {
  type ActRow,
  type PolicyHandle,
  PolicyRuntime,
  type PreviousChunk,
} from '@armature/policy/runtime';
import type { FinishedPolicy, TrainingEpisode } from '@armature/policy/train';
import { type PolicySession, runClosedLoop, trio } from '@armature/sim';
import { demonstrations, trainedPolicy } from '../fresh-policy.ts';
import type { Figure, PartOptions } from '../result.ts';
import { quantile, timed } from '../timing.ts';
import { Seams } from './rtc/seams.ts';

/** Steps of a chunk that pass before the robot looks again: the next chunk is asked for then. */
const EXECUTE = 8;
const LONGEST_DELAY = 4;
const SCENES_SEED = 900;

/** How a chunk goes on from the one before it, of which something is left. */
const holds = {
  off: undefined,
  guided: { schedule: 'exp' },
  'pulled back': { schedule: 'exp', correction: 'pulled-back' },
  trained: { schedule: 'trained' },
} as const satisfies Record<string, Omit<PreviousChunk, 'actions' | 'delay'> | undefined>;
type Way = keyof typeof holds;
const ways = Object.keys(holds) as Way[];
/** Delay and denoising steps of the chunks whose time is taken. */
const [TIMED_DELAY, TIMED_STEPS] = [2, 10];
const [TURNS, CALLS_A_TURN] = [10, 10];

const sizes = {
  full: { demos: 50, mode: 'policy', steps: 500, batch: 64, episodes: 60 },
  quick: { demos: 3, mode: 'head', steps: 4, batch: 16, episodes: 2 },
} as const;

/**
 * Real-time chunking in the simulator: a chunk arrives 0 to 4 control steps after what it was made from,
 * and the robot executes the chunk before it meanwhile. Success, and how far the commands bend where a chunk
 * takes over, of chunks that know nothing of one another, guided ones, ones guided through the network, and
 * ones of a version that was trained with prefixes of up to 4 actions; all but these of a version that was
 * trained without. Then the time that a chunk of each takes.
 */
export async function measureRtc({ threads, quick }: PartOptions): Promise<Figure[]> {
  const size = quick ? sizes.quick : sizes.full;
  const engine = await Engine.start({ threads, name: 'bench' });
  const base = loadBase(await readFile(baseWeightsUrl('nano')));
  const episodes = await demonstrations(trio, size.demos);
  const { mode, steps, batch } = size;
  const train = (prefix: number): Promise<FinishedPolicy> =>
    trainedPolicy(engine, base, trio, episodes, {
      mode,
      steps,
      batch_size: batch,
      prefix_delay_max: prefix,
    });
  const versions = [await train(0), await train(LONGEST_DELAY)] as const;
  const runtime = await PolicyRuntime.create({
    engine,
    base,
    buckets: [1],
    slots: 2,
    pulledBack: true,
  });
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
  figures.push(...(await costs(runtime, { plain, prefixed }, episodes[0], quick)));
  await runtime.close();
  await engine.close();
  return figures;
}

/** Time of a chunk in each way, by turns. */
async function costs(
  runtime: PolicyRuntime,
  policies: { readonly plain: PolicyHandle; readonly prefixed: PolicyHandle },
  episode: TrainingEpisode | undefined,
  quick: boolean,
): Promise<Figure[]> {
  if (episode === undefined) throw new RangeError('there is no episode');
  const width = trio.spec.action.length;
  const actions = episode.action.slice(0, EXECUTE * width);
  const rows = ways.map((way): ActRow => {
    const hold = holds[way];
    return {
      policy: way === 'trained' ? policies.prefixed : policies.plain,
      images: Object.fromEntries(
        trio.spec.cameras.map(({ name }) => [name, episode.image(name, 0)]),
      ),
      instruction: episode.instruction,
      state: episode.state.slice(0, trio.spec.state.length),
      seed: 1,
      sampler: { steps: TIMED_STEPS, noise_scale: 1 },
      ...(hold && { previous: { ...hold, actions, delay: TIMED_DELAY } }),
    };
  });
  const times = rows.map((): number[] => []);
  for (let turn = 0; turn < (quick ? 1 : TURNS); turn++) {
    for (const [i, row] of rows.entries()) {
      times[i]?.push(...(await timed(CALLS_A_TURN, 2, () => runtime.act([row]))));
    }
  }
  return ways.map((way, i) => ({
    name: `${way}: a chunk of ${TIMED_STEPS} steps, p50`,
    value: quantile(times[i] ?? [], 0.5),
    unit: 'ms',
  }));
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
      const hold = holds[o.way];
      const [answer] = await runtime.act([
        {
          policy,
          images,
          state,
          instruction: o.instruction,
          seed: o.episode * 1000 + asked,
          ...(lastCommand && { lastCommand }),
          ...(left && hold && { previous: { ...hold, actions: left, delay: o.delay } }),
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
