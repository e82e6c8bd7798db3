import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DatasetReport } from '@armature/sdk/contract';
import {
  smallEpisode,
  smallRecording,
  smallSpec,
  writeSmallDataset,
} from '../../test/support/small-dataset.ts';
import { fromDirectory, type RecordedEpisode, validateSource, writeLeRobot } from '../index.ts';

const DATA = 'data/chunk-000/episode_000001.parquet';

/** Rows of episode 1 of the small set at other times. */
function rowsAt(timestamps: readonly number[]): Uint8Array {
  const { state, action } = smallEpisode(1, timestamps.length);
  const vectors = (values: Float32Array): number[][] =>
    timestamps.map((_, t) => Array.from(values.subarray(t * 3, t * 3 + 3)));
  const list = (name: string) => [
    { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' } as const,
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 } as const,
    { name: 'element', type: 'FLOAT', repetition_type: 'OPTIONAL' } as const,
  ];
  return new Uint8Array(
    parquetWriteBuffer({
      schema: [
        { name: 'schema', num_children: 3 },
        ...list('observation.state'),
        ...list('action'),
        { name: 'timestamp', type: 'FLOAT', repetition_type: 'OPTIONAL' },
      ],
      columnData: [
        { name: 'observation.state', data: vectors(state) },
        { name: 'action', data: vectors(action) },
        { name: 'timestamp', data: Float32Array.from(timestamps) },
      ],
    }),
  );
}

const even = Array.from({ length: 30 }, (_, t) => t / 10);

describe('what the report calls by name', () => {
  let good: Awaited<ReturnType<typeof writeSmallDataset>>;
  let scratch: string;
  let copies = 0;
  beforeAll(async () => {
    good = await writeSmallDataset();
    scratch = await mkdtemp(join(tmpdir(), 'armature-codes-'));
  });
  afterAll(async () => {
    await good.remove();
    await rm(scratch, { recursive: true, force: true });
  });
  const check = (directory: string, spec = smallSpec): Promise<DatasetReport> =>
    validateSource(fromDirectory(directory), spec);
  const copy = async (): Promise<string> => {
    const directory = join(scratch, String(copies++));
    await cp(good.directory, directory, { recursive: true });
    return directory;
  };
  /** The good set with another episode 1. */
  const withEpisode = async (change: Partial<RecordedEpisode>): Promise<DatasetReport> => {
    const directory = join(scratch, String(copies++));
    const recording = smallRecording();
    const episodes = [0, 1, 2].map((index) =>
      index === 1 ? { ...smallEpisode(index), ...change } : smallEpisode(index),
    );
    await writeLeRobot(directory, { ...recording, episodes });
    return await check(directory);
  };

  const times: [string, readonly number[], object][] = [
    [
      'timestamp_jitter',
      even.map((time, t) => time + (t === 12 ? 0.04 : 0)),
      { severity: 'warning', message: expect.stringMatching(/0\.40 frame times/) },
    ],
    [
      'timestamp_order',
      even.map((time, t) => (t === 9 ? 0.8 : time)),
      { severity: 'error', message: expect.stringMatching(/frame 9 \(0\.8/) },
    ],
    [
      'timestamp_order',
      even.map((time, t) => (t === 9 ? Number.NaN : time)),
      { severity: 'error', message: expect.stringMatching(/frame 9 \(NaN/) },
    ],
  ];
  it.each(times)('%s', async (code, timestamps, finding) => {
    const directory = await copy();
    await writeFile(join(directory, DATA), rowsAt(timestamps));
    expect((await check(directory)).findings).toMatchObject([
      { code, episode: 1, feature: 'timestamp', ...finding },
    ]);
  });

  it('empty_episode', async () => {
    const directory = await copy();
    await writeFile(join(directory, DATA), rowsAt([]));
    const { findings } = await check(directory);
    expect(findings).toContainEqual(
      expect.objectContaining({ severity: 'error', code: 'empty_episode', episode: 1 }),
    );
    expect(findings.every(({ episode }) => episode === 1)).toBe(true);
  });

  it('duplicate_episode', async () => {
    const directory = await copy();
    const path = join(directory, 'meta/episodes.jsonl');
    const lines = await readFile(path, 'utf8');
    await writeFile(path, `${lines.trimEnd()}\n${lines.split('\n')[1] ?? ''}\n`);
    const { findings } = await check(directory);
    expect(findings).toMatchObject([
      { severity: 'error', code: 'duplicate_episode', episode: 1 },
      { severity: 'warning', code: 'same_episode', episode: 1 },
    ]);
  });

  it('blank_frames', async () => {
    const { frames } = smallEpisode(1);
    const top = (frames['top'] ?? []).map((picture, t) =>
      t === 3 || t === 20 ? new Uint8Array(picture.length) : picture,
    );
    expect((await withEpisode({ frames: { top } })).findings).toMatchObject([
      {
        severity: 'warning',
        code: 'blank_frames',
        episode: 1,
        feature: 'top',
        message: 'episode 1, camera top: 2 pictures are of one brightness',
      },
    ]);
  });

  it('repeated_frames, of a camera at half the rate', async () => {
    const { frames } = smallEpisode(1);
    const top = (frames['top'] ?? []).map((picture, t, all) => all[t - (t % 2)] ?? picture);
    const { findings } = await withEpisode({ frames: { top } });
    expect(findings).toMatchObject([
      { severity: 'warning', code: 'repeated_frames', episode: 1, feature: 'top' },
    ]);
  });

  it('repeated_rows, where frames were missed and filled in', async () => {
    const { state, action } = smallEpisode(1);
    for (const t of [5, 11, 17]) {
      for (const values of [state, action]) values.copyWithin(t * 3, (t - 1) * 3, t * 3);
    }
    expect((await withEpisode({ state, action })).findings).toMatchObject([
      {
        severity: 'warning',
        code: 'repeated_rows',
        episode: 1,
        message: expect.stringMatching(/3 of 30 rows .* the first is frame 5/),
      },
    ]);
  });

  it('outside_limits, of what was measured as well', async () => {
    const { state } = smallEpisode(1);
    state[10 * 3 + 1] = 2.5;
    expect((await withEpisode({ state })).findings).toMatchObject([
      { severity: 'warning', code: 'outside_limits', feature: 'state.elbow' },
    ]);
  });

  it('wide_limits, against whatever moves in the same unit', async () => {
    const limited = (most: number) => {
      const action = smallSpec.action.map((joint) =>
        joint.name === 'elbow' ? { ...joint, min: -most, max: most } : joint,
      );
      return { ...smallSpec, action };
    };
    expect((await check(good.directory, limited(1e6))).findings).toMatchObject([
      {
        severity: 'warning',
        code: 'wide_limits',
        feature: 'action.elbow',
        message: expect.stringMatching(/elbow may go from -1000000 to 1000000 rad.* 1\.\d+ rad/),
        fix: expect.stringMatching(/action elbow has the min and max/),
      },
    ]);
    // A robot that uses a little of what it can reach; a set in which nothing moves says nothing.
    expect((await check(good.directory, limited(30))).findings).toEqual([]);
    const still = { state: new Float32Array(90), action: new Float32Array(90) };
    const directory = join(scratch, 'still');
    await writeLeRobot(directory, {
      ...smallRecording(1),
      episodes: [{ ...smallEpisode(0), ...still }],
    });
    const { findings } = await check(directory, limited(1e6));
    expect(findings.map(({ code }) => code)).not.toContain('wide_limits');
  });
});
