import { recordDemos } from '@armature/sim';
import type { Stage } from '../jobs.ts';
import { streamEpisode, type RobotEpisode, type StreamResult } from '../stream.ts';
import type { Robot } from './robots.ts';

/** A seed that no demonstration was recorded with. */
const SEED = 4077;

/** One new episode of every robot, all streamed at their own rate beside each other. */
export async function streamAll(stage: Stage, robots: readonly Robot[]): Promise<StreamResult[]> {
  const { screen } = stage;
  const episodes = await Promise.all(robots.map(newEpisode));
  return screen.task('stream', async (progress) => {
    const streams = await Promise.all(
      robots.map(async (robot, index) => {
        const episode = episodes[index];
        if (episode === undefined) throw new RangeError(`no episode of robot ${index}`);
        return streamEpisode(stage, episode, {
          robot: robot.embodiment.name,
          embodimentId: robot.id,
          progress,
        });
      }),
    );
    progress.done(streams.map((stream) => `${stream.received.chunks} chunks`).join(' · '));
    return streams;
  });
}

async function newEpisode({ embodiment }: Robot): Promise<RobotEpisode> {
  for await (const episode of recordDemos({ embodiment, episodes: 1, seed: SEED })) {
    const { length, state, action, task, frames } = episode;
    return {
      spec: embodiment.spec,
      instruction: task,
      length,
      state,
      action,
      picture: (camera, frame) => {
        const pixels = frames[camera]?.[frame];
        if (pixels === undefined) throw new RangeError(`no frame ${frame} of ${camera}`);
        return { pixels };
      },
    };
  }
  throw new RangeError('no episode was recorded');
}
