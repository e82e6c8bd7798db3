import { thumbnail } from '../pictures.ts';
import type { StripFrame } from '../report/data.ts';
import type { StreamResult } from '../stream.ts';
import type { CameraEpisode } from './camera-episode.ts';

const FRAMES = 14;
const WIDTH = 320;

/** Frames of an episode at equal distances, each with the reasoning that was current. */
export async function stripOf(episode: CameraEpisode, stream: StreamResult): Promise<StripFrame[]> {
  const [camera] = episode.spec.cameras;
  if (camera === undefined) return [];
  const frames = Array.from({ length: FRAMES }, (_, place) =>
    Math.round((place * (episode.length - 1)) / (FRAMES - 1)),
  );
  return Promise.all(
    frames.map(async (frame) => ({
      at_s: frame / episode.spec.control_hz,
      picture: await thumbnail(episode.jpeg(camera.name, frame), WIDTH),
      reasoning: stream.reasoning[frame] ?? null,
    })),
  );
}
