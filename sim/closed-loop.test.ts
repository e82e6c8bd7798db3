import { embodimentSpecSchema } from '@armature/sdk/contract';
import { describe, expect, it } from 'vitest';
import {
  colourNames,
  createRng,
  type Embodiment,
  evaluationTask,
  expertChunk,
  heldOutEmbodiments,
  horizon,
  type Observation,
  PolicyOutputError,
  type PolicyPort,
  runClosedLoop,
  type Variant,
} from './index.ts';

const seed = 1;
const executeSteps = 8;

/** The scripted expert behind the port: it reads the instruction and is told the scene. */
const expert =
  (embodiment: Embodiment): PolicyPort =>
  ({ instruction, episode }) => {
    const { scene } = evaluationTask(embodiment, seed, episode);
    const disc = scene.discs.find((d) => instruction.split(' ').includes(d.colour));
    if (!disc) throw new Error(`no object for "${instruction}"`);
    return Promise.resolve({
      act: ({ state }) =>
        Promise.resolve({ actions: expertChunk(embodiment.arm, disc, state, horizon) }),
      close: () => Promise.resolve(),
    });
  };

/** Repeats the command in force; at the start, where there is none, the state. */
const copying: PolicyPort = () =>
  Promise.resolve({
    act: ({ state, lastCommand = state }) =>
      Promise.resolve({ actions: repeated(lastCommand, horizon) }),
    close: () => Promise.resolve(),
  });

/** Targets at random within the limits, one a chunk. */
const random =
  ({ spec }: Embodiment): PolicyPort =>
  ({ episode }) => {
    const rng = createRng(99, episode);
    return Promise.resolve({
      act: () =>
        Promise.resolve({
          actions: repeated(
            Float32Array.from(spec.action, ({ min, max }) => rng.uniform(min, max)),
            horizon,
          ),
        }),
      close: () => Promise.resolve(),
    });
  };

function repeated(command: Float32Array, times: number): Float32Array {
  const actions = new Float32Array(command.length * times);
  for (let t = 0; t < times; t++) actions.set(command, t * command.length);
  return actions;
}

describe.each(heldOutEmbodiments)('closed loop with $name', (embodiment) => {
  const run = (open: PolicyPort, variant: Variant, episodes = 150) =>
    runClosedLoop({ embodiment, episodes, seed, variant, open, executeSteps, concurrency: 8 });

  it('has a valid specification', () => {
    expect(embodimentSpecSchema.parse(embodiment.spec)).toEqual(embodiment.spec);
  });

  it('the expert reaches what is named, whichever object that is', async () => {
    const normal = await run(expert(embodiment), 'normal');
    expect(normal.rate).toBeGreaterThanOrEqual(0.99);
    expect(normal.reachedOriginal).toBe(normal.successes);
    expect(normal.interval[0]).toBeGreaterThan(0.95);
    const renamed = await run(expert(embodiment), 'renamed');
    expect(renamed.rate).toBeGreaterThanOrEqual(0.99);
    expect(renamed.reachedOriginal).toBe(0);
  });

  it('copying the last command gets nowhere, nor does moving at random', async () => {
    const copied = await run(copying, 'normal');
    expect(copied.successes).toBe(0);
    const guessed = await run(random(embodiment), 'normal');
    expect(guessed.rate).toBeLessThanOrEqual(0.05);
  });
});

describe('runClosedLoop', () => {
  const [duo, trio] = heldOutEmbodiments;
  if (!duo || !trio) throw new Error('two embodiments are expected');
  const base = { seed, variant: 'normal' as Variant };

  it('gives the same outcomes whatever the concurrency', async () => {
    const [one, many] = await Promise.all(
      [1, 16].map((concurrency) =>
        runClosedLoop({ ...base, embodiment: trio, episodes: 20, open: expert(trio), concurrency }),
      ),
    );
    expect(one).toEqual(many);
  });

  it('keeps episodes under way side by side, so that their chunks can be batched', async () => {
    let waiting: (() => void)[] = [];
    let batches = 0;
    const open: PolicyPort = async (o) => {
      const session = await expert(duo)(o);
      return {
        close: () => session.close(),
        act: async (observation) => {
          await new Promise<void>((resolve) => {
            waiting.push(resolve);
            // Answers only once all four lanes wait: with fewer under way this would never end.
            if (waiting.length === 4) {
              batches++;
              for (const go of waiting) go();
              waiting = [];
            }
          });
          return session.act(observation);
        },
      };
    };
    const run = await runClosedLoop({
      ...base,
      embodiment: duo,
      episodes: 4,
      open,
      concurrency: 4,
      maxSteps: 8,
    });
    expect(run.n).toBe(4);
    expect(batches).toBe(1);
  });

  it('shows zeros when blanked, pictures otherwise, and what was executed since', async () => {
    const seen: Observation[] = [];
    const open: PolicyPort = () =>
      Promise.resolve({
        act: (o) => {
          seen.push(o);
          return Promise.resolve({
            actions: repeated(o.state, horizon),
            chunkId: `c${seen.length}`,
          });
        },
        close: () => Promise.resolve(),
      });
    const options = { ...base, embodiment: trio, episodes: 1, open, maxSteps: 20 };
    await runClosedLoop({ ...options, variant: 'blank' });
    expect(seen).toHaveLength(3);
    for (const { images } of seen) {
      expect(Object.keys(images)).toEqual(['top', 'wrist']);
      expect(Object.values(images).every((image) => image.every((byte) => byte === 0))).toBe(true);
    }
    expect(seen[0]?.executed).toBeUndefined();
    expect(seen[0]?.lastCommand).toBeUndefined();
    expect(seen[1]?.executed).toEqual({ chunk_id: 'c1', steps: 8 });
    expect(seen[2]?.lastCommand).toEqual(seen[1]?.state);
    seen.length = 0;
    await runClosedLoop(options);
    expect(seen[0]?.images['wrist']?.some((byte) => byte > 0)).toBe(true);
  });

  it('names another object of the same scene when renamed', () => {
    for (let episode = 0; episode < 50; episode++) {
      const { target, other, instruction, otherInstruction, scene } = evaluationTask(
        trio,
        seed,
        episode,
      );
      const named = (text: string) => colourNames.find((c) => text.split(' ').includes(c));
      expect(named(instruction)).toBe(target.colour);
      expect(named(otherInstruction)).toBe(other.colour);
      expect(other.colour).not.toBe(target.colour);
      expect(scene.discs).toContain(other);
    }
  });

  it('keeps pictures and reasoning of the first episodes', async () => {
    const open: PolicyPort = async (o) => {
      const session = await expert(duo)(o);
      return {
        close: () => session.close(),
        act: async (observation) => ({ ...(await session.act(observation)), reasoning: 'so' }),
      };
    };
    const run = await runClosedLoop({ ...base, embodiment: duo, episodes: 3, open, keepFrames: 2 });
    expect(run.episodes.map((episode) => (episode.frames ?? []).length > 1)).toEqual([
      true,
      true,
      false,
    ]);
    expect(run.episodes[0]?.frames?.[0]).toMatchObject({ step: 0, reasoning: 'so' });
  });

  it('refuses a chunk that is not one, and closes every session', async () => {
    let open = 0;
    const broken =
      (actions: Float32Array): PolicyPort =>
      () => {
        open++;
        return Promise.resolve({
          act: () => Promise.resolve({ actions }),
          close: () => {
            open--;
            return Promise.resolve();
          },
        });
      };
    const run = (actions: Float32Array) =>
      runClosedLoop({
        ...base,
        embodiment: duo,
        episodes: 9,
        concurrency: 3,
        open: broken(actions),
      });
    const notFinite = new Float32Array(horizon * 2);
    notFinite[3] = Number.NaN;
    await expect(run(notFinite)).rejects.toThrow(/action 1 of step 1 is NaN/);
    await expect(run(new Float32Array(5))).rejects.toThrow(PolicyOutputError);
    expect(open).toBe(0);
  });

  it('stops when told to', async () => {
    const stop = new AbortController();
    const run = runClosedLoop({
      ...base,
      embodiment: duo,
      episodes: 50,
      open: expert(duo),
      signal: stop.signal,
      onProgress: ({ done }) => {
        if (done === 2) stop.abort(new Error('enough'));
      },
    });
    await expect(run).rejects.toThrow('enough');
  });
});
