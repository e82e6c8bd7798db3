import { type ClosedLoopResult, runClosedLoop, type Variant } from '@armature/sim';
import type { Stage, TrainedPolicy } from '../jobs.ts';
import { percent } from '../report/numbers.ts';
import type { Robot } from './robots.ts';
import { type PortCount, servedPolicy } from './served-policy.ts';

export const EPISODES = 100;
const SEED = 7;
/** Episodes under way at a time for each robot, so that the worker mixes its batches. */
const CONCURRENCY = 16;
const PICTURED = 3;

/** One comparison: which policy, seen how. */
export interface Trial {
  readonly label: string;
  readonly variant: Variant;
  readonly policy: (robot: Robot) => TrainedPolicy;
  /** Keep pictures of the first episodes. */
  readonly pictured?: boolean;
}

/** Every robot's closed loop in one trial, all at once; results in the order of the robots. */
export async function runTrial(
  { client, screen, signal }: Stage,
  robots: readonly Robot[],
  trial: Trial,
  count: PortCount,
): Promise<ClosedLoopResult[]> {
  const goal = robots.length * EPISODES;
  const progress = robots.map(() => ({ done: 0, successes: 0 }));
  return screen.task(trial.label, async (bar) => {
    const results = await Promise.all(
      robots.map((robot, index) =>
        runClosedLoop({
          embodiment: robot.embodiment,
          episodes: EPISODES,
          seed: SEED,
          variant: trial.variant,
          concurrency: CONCURRENCY,
          keepFrames: trial.pictured === true ? PICTURED : 0,
          signal,
          open: servedPolicy({
            client,
            spec: robot.embodiment.spec,
            embodimentId: robot.id,
            policyVersionId: trial.policy(robot).policyVersionId,
            count,
          }),
          onProgress: (now) => {
            progress[index] = now;
            const done = progress.reduce((sum, one) => sum + one.done, 0);
            bar.update(done / goal, `${done} of ${goal} episodes`);
          },
        }),
      ),
    );
    if (trial.variant === 'normal') {
      await Promise.all(
        results.map(({ embodiment, n, successes }, index) =>
          client.policies.score({
            id: trial.policy(robots[index] as Robot).policyVersionId,
            simulator: `tabletop ${embodiment}, tasks of seed ${SEED}`,
            episodes: n,
            successes,
          }),
        ),
      );
    }
    bar.done(results.map(inWords).join(' · '));
    return results;
  });
}

function inWords({ embodiment, rate, interval: [low, high] }: ClosedLoopResult): string {
  return `${embodiment} ${percent(rate)} (${percent(low)} to ${percent(high)})`;
}
