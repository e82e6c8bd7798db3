import { type ClosedLoopResult, type EpisodeOutcome, pictureSize } from '@armature/sim';
import { png } from '../pictures.ts';
import type { ClosedLoop, Rate, SimulatedEpisode } from '../report/data.ts';
import type { Robot } from './robots.ts';

/** One robot's closed loops as the report shows them. */
export async function closedLoopReport(one: {
  readonly robot: Robot;
  readonly before: ClosedLoopResult;
  readonly after: ClosedLoopResult;
  readonly blank: ClosedLoopResult;
  readonly renamed: ClosedLoopResult;
  readonly byCommand: ClosedLoopResult;
  readonly curve: readonly { readonly demos: number; readonly result: ClosedLoopResult }[];
}): Promise<ClosedLoop> {
  const { robot, before, after, blank, renamed, byCommand, curve } = one;
  const pictured = after.episodes.filter((episode) => episode.frames !== undefined);
  return {
    embodiment: robot.embodiment.name,
    description: robot.description,
    n: after.n,
    rates: [
      rate('before', before),
      rate('after', after),
      rate('pictures blanked', blank),
      rate('other object named', renamed),
      rate('relative to the last command', byCommand),
    ],
    curve: curve.map(({ demos, result }) => ({ demos, rate: rate('', result) })),
    episodes: await Promise.all(pictured.map(episodeReport)),
  };
}

function rate(name: string, { rate: share, interval }: ClosedLoopResult): Rate {
  return { name, rate: share, interval };
}

async function episodeReport(episode: EpisodeOutcome): Promise<SimulatedEpisode> {
  const frames = (episode.frames ?? []).map(async ({ step, image, reasoning }) => ({
    step,
    picture: await png({ pixels: image, width: pictureSize, height: pictureSize }),
    reasoning: reasoning ?? null,
  }));
  return {
    instruction: episode.instruction,
    success: episode.success,
    frames: await Promise.all(frames),
  };
}
