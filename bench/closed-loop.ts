import type { PolicyHandle, PolicyRuntime } from '@armature/policy/runtime';
import type { Sampler } from '@armature/sdk/contract';
import { type Embodiment, runClosedLoop } from '@armature/sim';

const SCENES_SEED = 900;

/** Share of simulated scenes in which a policy reaches the named object, every chunk from noise of its own. */
export async function successRate(o: {
  runtime: PolicyRuntime;
  policy: PolicyHandle;
  embodiment: Embodiment;
  scenes: number;
  sampler: Sampler;
}): Promise<number> {
  const { rate } = await runClosedLoop({
    embodiment: o.embodiment,
    episodes: o.scenes,
    seed: SCENES_SEED,
    variant: 'normal',
    open: ({ instruction, episode }) => {
      let asked = 0;
      return Promise.resolve({
        act: async ({ images, state, lastCommand }) => {
          const [answer] = await o.runtime.act([
            {
              policy: o.policy,
              images,
              state,
              instruction,
              seed: episode * 1000 + asked,
              sampler: o.sampler,
              ...(lastCommand && { lastCommand }),
            },
          ]);
          if (answer === undefined) throw new RangeError('the policy gave no actions');
          asked += 1;
          return { actions: answer.actions };
        },
        close: () => Promise.resolve(),
      });
    },
  });
  return rate;
}
