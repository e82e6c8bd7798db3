import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import h5wasm, { FS, type Group, ready } from 'h5wasm';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  discPicture,
  SMALL_SIZE,
  smallEpisode,
  smallSpec,
} from '../../test/support/small-dataset.ts';
import {
  type BlobSource,
  FrameCache,
  fromDirectory,
  openDataset,
  validateSource,
} from '../index.ts';

const LENGTH = 12;
const notes = {
  robot_type: 'small_arm',
  fps: 10,
  task: 'reach for the disc',
  state: smallSpec.state.map(({ name }) => name),
  action: smallSpec.action.map(({ name }) => name),
};

/** Writes an HDF5 file by libhdf5 itself. */
async function writeHdf5(path: string, fill: (root: Group) => void): Promise<void> {
  await ready;
  const file = new h5wasm.File('/made.h5', 'w');
  fill(file);
  file.close();
  await writeFile(path, FS?.readFile('/made.h5') ?? '');
  FS?.unlink('/made.h5');
}

function numbers(root: Group, episode: number, width = 3): void {
  const { state, action } = smallEpisode(episode, LENGTH);
  const observations = root.create_group('observations');
  observations.create_dataset({ name: 'qpos', data: Float64Array.from(state), shape: [LENGTH, 3] });
  root.create_dataset({ name: 'action', data: action, shape: [(LENGTH * 3) / width, width] });
  observations.create_group('images');
}

const images = (root: Group): Group => root.get('observations/images') as Group;

describe('ALOHA recordings', () => {
  let parent: string;
  let raw: string;
  let jpegs: Buffer[];
  beforeAll(async () => {
    parent = await mkdtemp(join(tmpdir(), 'armature-aloha-'));
    raw = join(parent, 'raw');
    await mkdir(raw);
    await writeFile(join(raw, 'armature.json'), JSON.stringify(notes));
    for (const episode of [0, 1]) {
      const pixels = Buffer.concat(
        Array.from({ length: LENGTH }, (_, t) => discPicture(episode, t)),
      );
      await writeHdf5(join(raw, `episode_${episode * 10}.hdf5`), (root) => {
        numbers(root, episode);
        images(root).create_dataset({
          name: 'top',
          data: new Uint8Array(pixels),
          shape: [LENGTH, SMALL_SIZE, SMALL_SIZE, 3],
          chunks: [1, SMALL_SIZE, SMALL_SIZE, 3],
          compression: 4,
        });
      });
    }
    jpegs = await Promise.all(
      Array.from({ length: LENGTH }, (_, t) =>
        sharp(discPicture(0, t), { raw: { width: SMALL_SIZE, height: SMALL_SIZE, channels: 3 } })
          .jpeg({ quality: 95, chromaSubsampling: '4:4:4' })
          .toBuffer(),
      ),
    );
  });
  afterAll(async () => {
    await rm(parent, { recursive: true, force: true });
  });

  it('are read to the numbers and pixels that were written', async () => {
    const dataset = await openDataset(fromDirectory(raw));
    expect(dataset).toMatchObject({
      format: 'aloha-hdf5',
      fps: 10,
      tasks: ['reach for the disc'],
      cameras: [{ name: 'top', width: SMALL_SIZE, height: SMALL_SIZE }],
      episodes: [{ length: LENGTH }, { length: LENGTH }],
    });
    const episode = await dataset.readEpisode(1);
    const { state, action } = smallEpisode(1, LENGTH);
    expect(episode).toMatchObject({ state, action, instruction: 'reach for the disc' });
    expect(episode.timestamps[11]).toBeCloseTo(1.1, 6);
    const count = await dataset.decodeFrames(1, 'top', (t, rgb) => {
      expect(Buffer.compare(rgb, discPicture(1, t))).toBe(0);
    });
    expect(count).toBe(LENGTH);
    const report = await validateSource(fromDirectory(raw), smallSpec);
    expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(report.frames).toBe(2 * LENGTH);
  });

  it('come from an object store through a copy that goes with the set', async () => {
    const files = fromDirectory(raw);
    const elsewhere: BlobSource = { size: files.size, read: files.read, list: files.list };
    const dataset = await openDataset(elsewhere);
    expect((await dataset.readEpisode(0)).state).toEqual(smallEpisode(0, LENGTH).state);
    const cacheDir = join(parent, 'cache');
    const module = join(parent, 'same.mjs');
    await writeFile(module, 'export const preprocessImage = (rgb) => rgb.slice();');
    const cache = await FrameCache.build(dataset, {
      dir: cacheDir,
      size: { width: SMALL_SIZE, height: SMALL_SIZE },
      preprocessModule: new URL(`file://${module}`),
      key: 'aloha',
    });
    await dataset.close();
    expect(Buffer.compare(cache.frame(1, 'top', 7), discPicture(1, 7))).toBe(0);
    cache.close();
  });

  it('may hold JPEGs that are padded with zeros', async () => {
    const folder = join(parent, 'jpeg');
    await mkdir(folder);
    await writeFile(join(folder, 'armature.json'), JSON.stringify(notes));
    const longest = Math.max(...jpegs.map(({ length }) => length));
    const padded = new Uint8Array(longest * LENGTH);
    jpegs.forEach((jpeg, t) => padded.set(jpeg, t * longest));
    await writeHdf5(join(folder, 'episode_0.hdf5'), (root) => {
      numbers(root, 0);
      images(root).create_dataset({ name: 'top', data: padded, shape: [LENGTH, longest] });
    });
    const dataset = await openDataset(fromDirectory(folder));
    expect(dataset.cameras).toMatchObject([{ width: SMALL_SIZE, codec: 'mjpeg' }]);
    const count = await dataset.decodeFrames(0, 'top', async (t, rgb) => {
      const wanted = await sharp(jpegs[t]).raw().toBuffer();
      const off = wanted.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (rgb[i] ?? 0))),
        0,
      );
      expect(off).toBeLessThanOrEqual(4);
    });
    expect(count).toBe(LENGTH);
  });

  const bad: [string, (folder: string) => Promise<unknown>, RegExp][] = [
    [
      'that is none',
      (folder) => writeFile(join(folder, 'episode_0.hdf5'), 'not at all'),
      /no readable HDF5/,
    ],
    [
      'without the joints',
      (folder) => writeHdf5(join(folder, 'episode_0.hdf5'), (root) => root.create_group('other')),
      /has no array observations\/qpos/,
    ],
    [
      'whose array lies in another file',
      (folder) =>
        writeHdf5(join(folder, 'episode_0.hdf5'), (root) => {
          root.create_group('observations').create_external_link('/etc/passwd', '/x', 'qpos');
        }),
      /has no array observations\/qpos/,
    ],
    [
      'with one chunk that would fill the memory',
      (folder) =>
        writeHdf5(join(folder, 'episode_0.hdf5'), (root) => {
          root.create_group('observations').create_dataset({
            name: 'qpos',
            data: new Float32Array(3),
            shape: [1, 3],
            maxshape: [null, 3],
            chunks: [6_000_000, 3],
          });
        }),
      /chunks of more than/,
    ],
    [
      'with pictures that are none',
      (folder) =>
        writeHdf5(join(folder, 'episode_0.hdf5'), (root) => {
          numbers(root, 0);
          images(root).create_dataset({ name: 'top', data: new Uint8Array(60), shape: [12, 5] });
        }),
      /neither RGB pictures nor JPEGs/,
    ],
  ];
  it.each(bad)('refuse a file %s', async (_name, write, message) => {
    const folder = await mkdtemp(join(parent, 'bad-'));
    await copyFile(join(raw, 'armature.json'), join(folder, 'armature.json'));
    await write(folder);
    const report = await validateSource(fromDirectory(folder), smallSpec);
    expect(report.findings).toMatchObject([{ severity: 'error', code: 'broken_file' }]);
    expect(report.findings[0]?.message).toMatch(message);
  });

  it('can be refused again and again', async () => {
    const { FS: files } = await import('h5wasm');
    const open = (): number =>
      (files as unknown as { streams: unknown[] }).streams.filter(Boolean).length;
    const folder = await mkdtemp(join(parent, 'again-'));
    await copyFile(join(raw, 'armature.json'), join(folder, 'armature.json'));
    await writeFile(join(folder, 'episode_0.hdf5'), 'not at all');
    const before = open();
    for (let i = 0; i < 5; i += 1) {
      await expect(openDataset(fromDirectory(folder))).rejects.toThrow(/no readable HDF5/);
    }
    expect(open()).toBe(before);
  });

  it('need to be told rate, task and names', async () => {
    const folder = await mkdtemp(join(parent, 'bare-'));
    await copyFile(join(raw, 'episode_0.hdf5'), join(folder, 'episode_0.hdf5'));
    await expect(openDataset(fromDirectory(folder))).rejects.toMatchObject({
      code: 'invalid_dataset',
      field: 'armature.json',
    });
    await writeFile(join(folder, 'armature.json'), JSON.stringify({ ...notes, fps: -1 }));
    await expect(openDataset(fromDirectory(folder))).rejects.toMatchObject({
      field: 'armature.json.fps',
    });
  });
});
