import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWithRecording, recordingPath } from '../../test/support/recordings.ts';
import {
  recordedSpec,
  smallRecording,
  smallSpec,
  writeSmallDataset,
} from '../../test/support/small-dataset.ts';
import {
  type BlobSource,
  type Dataset,
  fromDirectory,
  openDataset,
  validateSource,
} from '../index.ts';

const digestOf = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('hex');

/** A hash of every picture of an episode. */
async function pictures(dataset: Dataset, episode: number): Promise<string[]> {
  const seen: string[] = [];
  const counted = await dataset.decodeFrames(episode, 'cam_high', (t, rgb) => {
    expect(t).toBe(seen.length);
    seen.push(digestOf(rgb));
  });
  expect(counted).toBe(seen.length);
  return seen;
}

describe('LeRobot versions', () => {
  describeWithRecording('g1-bottle-3-v3', (v3) => {
    const v2 = recordingPath('g1-bottle-50');

    it('gives the same numbers for the same episodes', async () => {
      const one = await openDataset(fromDirectory(v2));
      const other = await openDataset(fromDirectory(v3));
      expect(other.format).toBe('lerobot-v3.0');
      expect(other.episodes).toEqual(one.episodes.slice(0, 3));
      const { fps, robotType, stateNames, actionNames, cameras, tasks } = one;
      expect(other).toMatchObject({ fps, robotType, stateNames, actionNames, cameras, tasks });
      for (const { index } of other.episodes) {
        expect(await other.readEpisode(index)).toEqual(await one.readEpisode(index));
      }
    });

    it('gives the same frames, from the middle of a file and from byte ranges as well', async () => {
      const one = await openDataset(fromDirectory(v2));
      const files = fromDirectory(v3);
      const elsewhere: BlobSource = { size: files.size, read: files.read, list: files.list };
      const other = await openDataset(files);
      const remote = await openDataset(elsewhere);
      for (const { index, length } of other.episodes) {
        const wanted = await pictures(one, index);
        expect(wanted).toHaveLength(length);
        expect(await pictures(other, index)).toEqual(wanted);
        if (index === 1) expect(await pictures(remote, index)).toEqual(wanted);
      }
    });

    it('finds nothing wrong with the twin', async () => {
      const dataset = await openDataset(fromDirectory(v3));
      const report = await validateSource(fromDirectory(v3), recordedSpec(dataset));
      expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
      expect(report.frames).toBe(1150);
    });
  });

  describe('v2.0', () => {
    let set: Awaited<ReturnType<typeof writeSmallDataset>>;
    let old: string;
    beforeAll(async () => {
      set = await writeSmallDataset(smallRecording(2));
      old = join(await mkdtemp(join(tmpdir(), 'armature-v20-')), 'set');
      await cp(set.directory, old, { recursive: true });
      const path = join(old, 'meta/info.json');
      await writeFile(path, (await readFile(path, 'utf8')).replace('"v2.1"', '"v2.0"'));
      await rm(join(old, 'meta/episodes_stats.jsonl'));
      await writeFile(join(old, 'meta/stats.json'), '{}');
    });
    afterAll(async () => {
      await set.remove();
      await rm(join(old, '..'), { recursive: true, force: true });
    });

    it('is read as v2.1, whose statistics lie elsewhere', async () => {
      const one = await openDataset(fromDirectory(set.directory));
      const other = await openDataset(fromDirectory(old));
      expect(other.format).toBe('lerobot-v2.0');
      expect(await other.readEpisode(1)).toEqual(await one.readEpisode(1));
      expect((await validateSource(fromDirectory(old), smallSpec)).findings).toEqual([]);
    });
  });
});
