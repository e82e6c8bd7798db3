import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  discPicture,
  smallEpisode,
  smallRecording,
  writeSmallDataset,
} from '../../test/support/small-dataset.ts';
import { fromDirectory, openDataset, writeLeRobot } from '../index.ts';

describe('writeLeRobot', () => {
  const label = { from: 0, to: 12, text: 'reach', source: 'test' };
  const recording = {
    ...smallRecording(),
    episodes: [0, 1, 2].map((index) => ({
      ...smallEpisode(index),
      ...(index === 1 ? { labels: [label] } : {}),
    })),
  };
  let set: Awaited<ReturnType<typeof writeSmallDataset>>;
  beforeAll(async () => {
    set = await writeSmallDataset(recording);
  });
  afterAll(async () => {
    await set.remove();
  });

  it('gives numbers, tasks and labels back bit for bit', async () => {
    const dataset = await openDataset(fromDirectory(set.directory));
    expect(dataset.format).toBe('lerobot-v2.1');
    expect(dataset.fps).toBe(10);
    expect(dataset.tasks).toEqual(['reach for disc 0', 'reach for disc 1']);
    for (const [index, recorded] of recording.episodes.entries()) {
      const episode = await dataset.readEpisode(index);
      expect(episode.state).toEqual(recorded.state);
      expect(episode.action).toEqual(recorded.action);
      expect(episode.instruction).toBe(recorded.task);
      expect(episode.timestamps[29]).toBeCloseTo(2.9, 6);
      expect(episode.labels).toEqual(index === 1 ? [label] : []);
    }
  });

  it('gives every pixel back as it was', async () => {
    const dataset = await openDataset(fromDirectory(set.directory));
    const seen = await dataset.decodeFrames(1, 'top', (t, rgb, width, height) => {
      expect([width, height]).toEqual([48, 48]);
      expect(Buffer.compare(rgb, discPicture(1, t))).toBe(0);
    });
    expect(seen).toBe(30);
  });

  it('leaves nothing behind when an episode does not fit', async () => {
    const target = join(dirname(set.directory), 'broken');
    const broken = { ...smallEpisode(0), action: new Float32Array(7) };
    const writing = writeLeRobot(target, { ...recording, episodes: [smallEpisode(0), broken] });
    await expect(writing).rejects.toMatchObject({ code: 'invalid_dataset', field: 'action' });
    expect(await readdir(dirname(set.directory))).toEqual(['set']);
  });

  it('does not write over a folder', async () => {
    const writing = writeLeRobot(set.directory, recording);
    await expect(writing).rejects.toMatchObject({ code: 'conflict' });
  });
});
