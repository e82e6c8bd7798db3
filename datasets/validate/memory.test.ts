import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import { DiskStore } from '@armature/storage';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundled } from '../../test/support/bundle.ts';
import { smallSpec } from '../../test/support/small-dataset.ts';
import { episodeParquet } from '../lerobot/write-parquet.ts';

/** Few enough that what one episode leaves to be collected is little beside what a set would hold. */
const ROWS = 6000;
const WIDTH = 14;
const FPS = 50;
const names = Array.from({ length: WIDTH }, (_, i) => `joint_${i}`);
const spec: EmbodimentSpec = {
  ...smallSpec,
  control_hz: FPS,
  state: names.map((name) => ({ name, unit: 'rad' })),
  action: names.map((name) => ({ name, unit: 'rad', group: 'arm', min: -9, max: 9 })),
  references: { arm: 'state' },
};
/** Values that no codec makes small. */
const noise = (seed: number): Float32Array => {
  let at = seed;
  return Float32Array.from({ length: ROWS * WIDTH }, () => {
    at = (Math.imul(at, 1_664_525) + 1_013_904_223) >>> 0;
    return at / 2 ** 32;
  });
};

describe('validation of a large set', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'armature-memory-'));
    const config = { root: join(folder, 'store'), publicUrl: 'http://127.0.0.1:1' };
    const store = new DiskStore({
      kind: 'disk',
      ...config,
      secret: 'a secret that is only for tests, 32+',
    });
    const vector = { dtype: 'float32', shape: [WIDTH], names };
    const scalar = { dtype: 'float32', shape: [1], names: null };
    const info = {
      codebase_version: 'v2.1',
      robot_type: 'arm',
      total_episodes: 1,
      total_frames: ROWS,
      chunks_size: 1000,
      fps: FPS,
      data_path: 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
      features: { 'observation.state': vector, action: vector, timestamp: scalar },
    };
    const files = 'tenants/ten_a/datasets/ds_a/files/';
    await store.put(`${files}meta/info.json`, Buffer.from(JSON.stringify(info)));
    await store.put(`${files}meta/tasks.jsonl`, Buffer.from('{"task_index":0,"task":"move"}'));
    const rows = episodeParquet({
      episodeIndex: 0,
      taskIndex: 0,
      firstIndex: 0,
      fps: FPS,
      length: ROWS,
      vectors: {
        'observation.state': { width: WIDTH, values: noise(1) },
        action: { width: WIDTH, values: noise(2) },
      },
    });
    await store.put(`${files}data/chunk-000/episode_000000.parquet`, rows);
    await writeFile(join(folder, 'spec.json'), JSON.stringify(spec));
    await writeFile(join(folder, 'length'), String(ROWS));
  });
  afterAll(async () => rm(folder, { recursive: true, force: true }));

  const validate = async (episodes: number): Promise<{ frames: number; peakMib: number }> => {
    const args = [await bundled('test/support/validate-store.ts'), folder, String(episodes)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    return JSON.parse(stdout) as { frames: number; peakMib: number };
  };

  it('takes no more memory for 200 episodes than for 50', { timeout: 600_000 }, async () => {
    const few = await validate(50);
    const many = await validate(200);
    expect(few.frames).toBe(50 * ROWS);
    expect(many.frames).toBe(200 * ROWS);
    // The 150 episodes more are 96 MiB of numbers; of a column they take a few, in one piece.
    const more = ((many.frames - few.frames) * WIDTH * 2 * 4) / 2 ** 20;
    expect(more).toBeGreaterThan(90);
    expect(many.peakMib - few.peakMib).toBeLessThan((3 / 4) * more);
  });
});
