import { randomFillSync } from 'node:crypto';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromDirectory } from '@armature/datasets';
import h5wasm, { FS, ready } from 'h5wasm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { smallEpisode, smallSpec } from '../../test/support/small-dataset.ts';
import { checkInProcess } from './check-in-process.ts';

/** A long recording of compressed pictures, 230 MB of them. */
const [LENGTH, WIDTH, HEIGHT] = [1_000, 320, 240];
/** What such a recording may take in all, where its pictures alone would not fit beside Node. */
const MEMORY_MIB = 250;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'armature-hdf5-'));
  const names = smallSpec.state.map(({ name }) => name);
  const notes = { robot_type: 'arm', fps: 10, task: 'move', state: names, action: names };
  await writeFile(join(folder, 'armature.json'), JSON.stringify(notes));
  await ready;
  const file = new h5wasm.File('/long.h5', 'w');
  const { state, action } = smallEpisode(0, LENGTH);
  const observations = file.create_group('observations');
  observations.create_dataset({ name: 'qpos', data: Float64Array.from(state), shape: [LENGTH, 3] });
  file.create_dataset({ name: 'action', data: action, shape: [LENGTH, 3] });
  const pixels = new Uint8Array(LENGTH * HEIGHT * WIDTH * 3);
  for (let at = 0; at < pixels.length; at += 1 << 20) {
    randomFillSync(pixels, at, Math.min(1 << 20, pixels.length - at));
  }
  observations.create_group('images').create_dataset({
    name: 'top',
    data: pixels,
    shape: [LENGTH, HEIGHT, WIDTH, 3],
    chunks: [1, HEIGHT, WIDTH, 3],
    compression: 1,
  });
  file.close();
  await writeFile(join(folder, 'episode_0.hdf5'), FS?.readFile('/long.h5') ?? '');
  FS?.unlink('/long.h5');
});
afterAll(async () => rm(folder, { recursive: true, force: true }));

it('a long HDF5 recording of large pictures is checked in less memory than they have', async () => {
  const source = fromDirectory(folder);
  const { localPath } = source;
  if (localPath === undefined) throw new Error('a folder has local files');
  const report = await checkInProcess({
    source: { ...source, localPath },
    files: await Promise.all(
      (await source.list()).map(async (path) => {
        const { size } = await stat(join(folder, path));
        // The worker has compared it before.
        return { path, size, sha256: '0'.repeat(64) };
      }),
    ),
    spec: {
      ...smallSpec,
      cameras: smallSpec.cameras.map((one) => ({ ...one, width: WIDTH, height: HEIGHT })),
    },
    without: [],
    lanes: 1,
    memoryMib: MEMORY_MIB,
    scratch: folder,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  expect(report.frames, JSON.stringify(report.findings)).toBe(LENGTH);
});
