import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  Attempt,
  colourNames,
  createRng,
  duo,
  type Embodiment,
  type EpisodeRecording,
  heldOutEmbodiments,
  longestEpisode,
  pictureBytes,
  recordDemos,
  sampleTask,
  shortestEpisode,
  streams,
  trio,
} from './index.ts';

async function recorded(
  embodiment: Embodiment,
  episodes: number,
  seed: number,
): Promise<EpisodeRecording[]> {
  const all: EpisodeRecording[] = [];
  for await (const episode of recordDemos({ embodiment, episodes, seed })) all.push(episode);
  return all;
}

function digest(episodes: readonly EpisodeRecording[]): string {
  const hash = createHash('sha256');
  for (const { state, action, frames, ...rest } of episodes) {
    hash.update(JSON.stringify(rest));
    hash.update(new Uint8Array(state.buffer)).update(new Uint8Array(action.buffer));
    for (const pictures of Object.values(frames))
      for (const picture of pictures) hash.update(picture);
  }
  return hash.digest('hex');
}

describe.each(heldOutEmbodiments)('demonstrations of $name', (embodiment) => {
  it('have the shapes of the specification, and stay within its limits', async () => {
    const { spec } = embodiment;
    for (const episode of await recorded(embodiment, 20, 1)) {
      const { length } = episode;
      expect(length).toBeGreaterThanOrEqual(shortestEpisode);
      expect(length).toBeLessThanOrEqual(longestEpisode);
      expect(episode.state).toHaveLength(length * spec.state.length);
      expect(episode.action).toHaveLength(length * spec.action.length);
      expect(Object.keys(episode.frames)).toEqual(spec.cameras.map((camera) => camera.name));
      for (const pictures of Object.values(episode.frames)) {
        expect(pictures).toHaveLength(length);
        expect(pictures.every((picture) => picture.length === pictureBytes)).toBe(true);
      }
      episode.action.forEach((value, i) => {
        const joint = spec.action[i % spec.action.length];
        expect(value).toBeGreaterThanOrEqual((joint?.min ?? Number.NaN) - 1e-6);
        expect(value).toBeLessThanOrEqual((joint?.max ?? Number.NaN) + 1e-6);
      });
    }
  });

  it('reach the named object, nearly always', async () => {
    const episodes = await recorded(embodiment, 100, 2);
    const width = embodiment.spec.state.length;
    let reached = 0;
    episodes.forEach((episode, i) => {
      const { target, instruction } = sampleTask(
        createRng(2, streams.demonstration, i),
        embodiment,
      );
      expect(episode.task).toBe(instruction);
      const attempt = new Attempt(embodiment.arm, target);
      for (let t = 0; t < episode.length; t++) {
        attempt.observe(episode.state.subarray(t * width, (t + 1) * width));
      }
      if (attempt.reached) reached++;
    });
    expect(reached).toBeGreaterThanOrEqual(99);
  });

  it('are labelled without gaps with sentences that name the object', async () => {
    for (const { labels, length, task } of await recorded(embodiment, 10, 3)) {
      const colour = colourNames.find((name) => task.split(' ').includes(name));
      if (!colour) throw new Error(`no colour in "${task}"`);
      let next = 0;
      for (const { from, to, text } of labels) {
        expect(from).toBe(next);
        expect(to).toBeGreaterThan(from);
        expect(text).toContain(`The ${colour} disc`);
        next = to;
      }
      expect(next).toBe(length);
    }
  });
});

describe('recording', () => {
  it('gives the same episodes for the same seed, and others for another', async () => {
    const [one, two, other] = await Promise.all([
      recorded(trio, 2, 4),
      recorded(trio, 2, 4),
      recorded(trio, 2, 5),
    ]);
    expect(digest(one)).toBe(digest(two));
    expect(digest(one)).not.toBe(digest(other));
  });

  it('shows disturbed states, with commands that lead back', async () => {
    const [episode] = await recorded(duo, 1, 6);
    if (!episode) throw new Error('no episode');
    const { state, action, length } = episode;
    let disturbed = 0;
    for (let t = 0; t + 1 < length; t++) {
      if (Math.abs((state[2 * (t + 1)] ?? 0) - (action[2 * t] ?? 0)) > 1e-4) disturbed++;
    }
    expect(disturbed).toBeGreaterThan(length / 2);
  });

  it('stops when told to', async () => {
    const stop = new AbortController();
    const seen: EpisodeRecording[] = [];
    const run = async () => {
      const demos = recordDemos({ embodiment: duo, episodes: 9, seed: 1, signal: stop.signal });
      for await (const episode of demos) {
        seen.push(episode);
        stop.abort();
      }
    };
    await expect(run()).rejects.toThrow(/abort/i);
    expect(seen).toHaveLength(1);
  });
});
