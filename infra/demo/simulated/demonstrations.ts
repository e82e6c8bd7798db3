import { rm } from 'node:fs/promises';
import { writeLeRobot } from '@armature/datasets';
import { type Embodiment, recordDemos } from '@armature/sim';
import { short } from '../report/numbers.ts';
import type { Screen } from '../screen.ts';

/** Records `episodes` demonstrations of the scripted expert as a LeRobot set in `dir`, anew. */
export async function recordDemonstrations(
  screen: Screen,
  options: {
    readonly embodiment: Embodiment;
    readonly episodes: number;
    readonly seed: number;
    readonly dir: string;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { embodiment, episodes, seed, dir, signal } = options;
  const { spec } = embodiment;
  await rm(dir, { recursive: true, force: true });
  await screen.task(`record ${embodiment.name}`, async (progress) => {
    let done = 0;
    const told = async function* (): ReturnType<typeof recordDemos> {
      for await (const episode of recordDemos({ embodiment, episodes, seed, signal })) {
        yield episode;
        done += 1;
        progress.update(done / episodes, `${done} of ${episodes}`);
      }
    };
    const { frames } = await writeLeRobot(dir, {
      robotType: embodiment.name,
      fps: spec.control_hz,
      stateNames: spec.state.map((joint) => joint.name),
      actionNames: spec.action.map((joint) => joint.name),
      cameras: spec.cameras,
      episodes: told(),
    });
    progress.done(`${episodes} demonstrations, ${short(frames)} frames`);
  });
}
