import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { describeWithRecording } from '../../test/support/recordings.ts';
import { type BlobSource, featureStats, fromDirectory, openDataset } from '../index.ts';

describe('LeRobot v2.1 reader', () => {
  describeWithRecording('g1-bottle-50', (directory) => {
    it('gives the true statistics over all frames', async () => {
      const dataset = await openDataset(fromDirectory(directory));
      expect(dataset.episodes).toHaveLength(50);
      expect(dataset.stateNames[13]).toBe('kRightWristYaw');
      const truth = JSON.parse(
        await readFile(join(directory, 'meta/true_stats.json'), 'utf8'),
      ) as Record<string, Record<string, number[]>> & { n: number };
      const episodes = [];
      for (const { index, length } of dataset.episodes) {
        const episode = await dataset.readEpisode(index);
        expect(episode.length).toBe(length);
        episodes.push(episode);
      }
      for (const [feature, key] of [
        ['observation.state', 'state'],
        ['action', 'action'],
      ] as const) {
        const parts = episodes.map((episode) => episode[key]);
        const { names, ...stats } = featureStats(dataset.stateNames, parts);
        expect(parts.reduce((sum, part) => sum + part.length, 0)).toBe(truth.n * names.length);
        for (const [name, values] of Object.entries(stats)) {
          values.forEach((value, dimension) => {
            expect(value, `${feature} ${name}[${dimension}]`).toBeCloseTo(
              truth[feature]?.[name]?.[dimension] ?? Number.NaN,
              12,
            );
          });
        }
      }
    });
  });

  describeWithRecording('g1-bottle-heldout', (directory) => {
    it('decodes AV1 alike from a file and from byte ranges', async () => {
      const files = fromDirectory(directory);
      const elsewhere: BlobSource = { size: files.size, read: files.read, list: files.list };
      const sums: string[][] = [];
      for (const source of [files, elsewhere]) {
        const dataset = await openDataset(source);
        const [episode] = dataset.episodes;
        const seen: string[] = [];
        const count = await dataset.decodeFrames(
          episode?.index ?? -1,
          'cam_high',
          (t, rgb, width, height) => {
            expect(t).toBe(seen.length);
            expect([rgb.length, width, height]).toEqual([640 * 480 * 3, 640, 480]);
            seen.push(createHash('sha1').update(rgb).digest('hex'));
          },
        );
        expect(count).toBe(episode?.length);
        sums.push(seen);
      }
      expect(sums[0]).toEqual(sums[1]);
    });

    it('stops when it is cancelled', async () => {
      const dataset = await openDataset(fromDirectory(directory));
      const controller = new AbortController();
      let seen = 0;
      const reading = dataset.decodeFrames(
        0,
        'cam_high',
        () => {
          seen += 1;
          if (seen === 5) controller.abort();
        },
        { signal: controller.signal },
      );
      await expect(reading).rejects.toMatchObject({ code: 'cancelled' });
      expect(seen).toBeLessThan(40);
    });
  });
});
