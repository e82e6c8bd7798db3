import { cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DatasetReport, EmbodimentSpec } from '@armature/sdk/contract';
import { describeWithRecording } from '../../test/support/recordings.ts';
import {
  discPicture,
  recordedSpec,
  smallEpisode,
  smallRecording,
  smallSpec,
  writeSmallDataset,
} from '../../test/support/small-dataset.ts';
import { fromDirectory, isUsable, openDataset, validateSource, writeLeRobot } from '../index.ts';
import { episodeParquet } from '../lerobot/write-parquet.ts';
import { encodeVideo } from '../video/encode.ts';
import { Findings } from './findings.ts';

const DATA = 'data/chunk-000/episode_000001.parquet';
const VIDEO = 'videos/chunk-000/observation.images.top/episode_000001.mp4';

describe('validateSource', () => {
  let good: Awaited<ReturnType<typeof writeSmallDataset>>;
  let scratch: string;
  let copies = 0;
  beforeAll(async () => {
    good = await writeSmallDataset();
    scratch = await mkdtemp(join(tmpdir(), 'armature-broken-'));
  });
  afterAll(async () => {
    await good.remove();
    await rm(scratch, { recursive: true, force: true });
  });

  /** A copy of the good set, after `harm` had its way with it. */
  async function harmed(harm: (directory: string) => Promise<unknown>): Promise<string> {
    const directory = join(scratch, String(copies++));
    await cp(good.directory, directory, { recursive: true });
    await harm(directory);
    return directory;
  }
  const check = (directory: string, spec = smallSpec): Promise<DatasetReport> =>
    validateSource(fromDirectory(directory), spec);
  const edit = async (path: string, from: string | RegExp, to: string): Promise<void> => {
    const text = await readFile(path, 'utf8');
    expect(text).toMatch(from);
    await writeFile(path, text.replace(from, to));
  };
  const pictures = (count: number): Uint8Array[] =>
    Array.from({ length: count }, (_, t) => discPicture(1, t));

  it('passes a good set, with its true statistics', async () => {
    const progress: number[] = [];
    const report = await validateSource(fromDirectory(good.directory), smallSpec, {
      onProgress: (fraction) => progress.push(fraction),
    });
    expect(report).toMatchObject({
      format: 'lerobot-v2.1',
      robot_type: 'small_arm',
      fps: 10,
      episodes: 3,
      frames: 90,
      tasks: ['reach for disc 0', 'reach for disc 1'],
      cameras: [{ name: 'top', width: 48, height: 48 }],
      findings: [],
    });
    expect(isUsable(report)).toBe(true);
    const grip = [0, 1, 2].flatMap((episode) =>
      Array.from(smallEpisode(episode).action).filter((_, i) => i % 3 === 2),
    );
    expect(report.stats?.action.names).toEqual(['shoulder', 'elbow', 'gripper']);
    expect(report.stats?.action.mean[2]).toBeCloseTo(grip.reduce((a, b) => a + b) / 90, 6);
    expect(progress.at(-1)).toBe(1);
    expect(report.ingest.peak_rss_mb).toBeGreaterThan(10);
  });

  const bad: [string, (directory: string) => Promise<unknown>, object][] = [
    [
      'a video shorter than its rows',
      (dir) => encodeVideo(join(dir, VIDEO), pictures(25), { width: 48, height: 48, fps: 10 }),
      { code: 'video_short', episode: 1, feature: 'top', message: /25 frames for 30 rows/ },
    ],
    [
      'a video of another size',
      (dir) =>
        encodeVideo(
          join(dir, VIDEO),
          Array.from({ length: 30 }, (_, t) => discPicture(1, t, 32)),
          { width: 32, height: 32, fps: 10 },
        ),
      { code: 'video_size', episode: 1, feature: 'top' },
    ],
    [
      'a video at another rate',
      (dir) => encodeVideo(join(dir, VIDEO), pictures(30), { width: 48, height: 48, fps: 8 }),
      { code: 'video_time', episode: 1, feature: 'top' },
    ],
    [
      'a damaged video',
      (dir) => truncate(join(dir, VIDEO), 700),
      { code: 'broken_file', episode: 1, feature: 'top' },
    ],
    [
      'a missing video',
      (dir) => rm(join(dir, VIDEO)),
      { code: 'missing_file', episode: 1, feature: 'top' },
    ],
    ['missing rows', (dir) => rm(join(dir, DATA)), { code: 'missing_file', episode: 1 }],
    ['damaged rows', (dir) => truncate(join(dir, DATA), 900), { code: 'broken_file', episode: 1 }],
    [
      'rows that lack a dimension',
      async (dir) => {
        const vectors = { 'observation.state': { width: 3, values: new Float32Array(90) } };
        await writeRows(dir, 10, {
          ...vectors,
          action: { width: 2, values: new Float32Array(60) },
        });
      },
      { code: 'broken_file', episode: 1, feature: 'action', message: /2 values a row.*names 3/ },
    ],
    [
      'rows at another rate',
      (dir) => writeRows(dir, 5),
      { code: 'timestamp_gap', episode: 1, feature: 'timestamp' },
    ],
    [
      'fewer rows than listed',
      (dir) =>
        edit(
          join(dir, 'meta/episodes.jsonl'),
          /"episode_index":1(.*):30}/,
          '"episode_index":1$1:31}',
        ),
      { code: 'length_mismatch', episode: 1 },
    ],
    [
      'a broken description',
      (dir) => edit(join(dir, 'meta/info.json'), '"fps": 10', '"fps": "ten"'),
      { code: 'broken_file', feature: 'meta/info.json.fps' },
    ],
    [
      'another version',
      (dir) => edit(join(dir, 'meta/info.json'), '"v2.1"', '"v1.6"'),
      { code: 'broken_file', feature: 'codebase_version' },
    ],
    [
      'no description',
      (dir) => rm(join(dir, 'meta/info.json')),
      { code: 'broken_file', feature: 'meta/info.json' },
    ],
  ];
  it.each(bad)('rejects %s', async (_name, harm, { message, ...finding }: { message?: RegExp }) => {
    const report = await check(await harmed(harm));
    expect(isUsable(report)).toBe(false);
    const found = report.findings.filter(({ severity }) => severity === 'error');
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject(finding);
    if (message !== undefined) expect(found[0]?.message).toMatch(message);
    expect(found[0]?.fix).not.toBe('');
  });

  it('rejects a number that is none', async () => {
    const episode = smallEpisode(1);
    const action = episode.action.slice();
    action[3 * 7 + 1] = Number.NaN;
    const directory = join(scratch, 'nan');
    await writeLeRobot(directory, {
      ...smallRecording(),
      episodes: [smallEpisode(0), { ...episode, action }],
    });
    const report = await check(directory);
    expect(report.stats).toBeNull();
    expect(report.findings).toMatchObject([
      { severity: 'error', code: 'not_finite', episode: 1, feature: 'action' },
    ]);
    expect(report.findings[0]?.message).toMatch(/NaN in frame 7, elbow/);
  });

  it('rejects a set without episodes', async () => {
    const directory = join(scratch, 'none');
    await writeLeRobot(directory, { ...smallRecording(), episodes: [] });
    expect((await check(directory)).findings).toMatchObject([{ code: 'no_episodes' }]);
  });

  const misfits: [string, Partial<EmbodimentSpec>, object][] = [
    [
      'dimensions',
      { action: smallSpec.action.slice(0, 2) },
      { code: 'action_dimensions', feature: 'action' },
    ],
    [
      'dimensions of the state',
      { state: smallSpec.state.slice(0, 2) },
      { code: 'state_dimensions', feature: 'state' },
    ],
    ['names', { state: [...smallSpec.state].reverse() }, { code: 'state_names', feature: 'state' }],
    [
      'cameras',
      { cameras: [...smallSpec.cameras, { name: 'wrist', kind: 'wrist', width: 48, height: 48 }] },
      { code: 'missing_camera', feature: 'wrist' },
    ],
    ['rate', { control_hz: 20 }, { code: 'fps_mismatch', feature: 'fps' }],
  ];
  it.each(misfits)(
    'rejects a set whose %s are not the embodiment’s',
    async (_name, change, finding) => {
      const report = await check(good.directory, { ...smallSpec, ...change });
      expect(report.findings).toMatchObject([{ severity: 'error', ...finding }]);
    },
  );

  it('warns of a camera that the embodiment does not have', async () => {
    const report = await check(good.directory, { ...smallSpec, cameras: [] });
    expect(isUsable(report)).toBe(true);
    expect(report.findings).toMatchObject([
      { severity: 'warning', code: 'unused_camera', feature: 'top' },
    ]);
  });

  it('warns of what looks wrong but can be used', async () => {
    const directory = join(scratch, 'odd');
    const still = smallEpisode(0);
    const frames = Array.from({ length: 30 }, () => discPicture(0, 0));
    const state = still.state.map((value, i) => (i % 3 === 2 ? 0.5 : value));
    await writeLeRobot(directory, {
      ...smallRecording(),
      episodes: [{ ...still, state, frames: { top: frames }, task: ' ' }],
    });
    const narrow = smallSpec.action.map((joint) =>
      joint.name === 'shoulder' ? { ...joint, max: 0.5 } : joint,
    );
    const report = await check(directory, {
      ...smallSpec,
      horizon: 32,
      action: narrow,
      cameras: smallSpec.cameras.map((camera) => ({ ...camera, width: 64 })),
    });
    expect(isUsable(report)).toBe(true);
    expect(report.findings.map(({ code, feature }) => [code, feature])).toEqual([
      ['camera_size', 'top'],
      ['short_episode', undefined],
      ['no_task', 'task'],
      ['frozen_frames', 'top'],
      ['constant_dimension', 'state.gripper'],
      ['outside_limits', 'action.shoulder'],
      ['outside_limits', 'state.shoulder'],
    ]);
  });

  it('does not repeat one fault for every episode', async () => {
    const directory = join(scratch, 'many');
    const episodes = Array.from({ length: 25 }, (_, index) => smallEpisode(index, 9));
    await writeLeRobot(directory, { ...smallRecording(), episodes });
    await rm(join(directory, 'videos'), { recursive: true });
    const { findings } = await check(directory);
    const errors = findings.filter(({ severity }) => severity === 'error');
    expect(errors).toHaveLength(21);
    const { message, episodes: others } = errors.at(-1) ?? {};
    expect(message).toBe('5 more findings of this kind, in episodes 20-24');
    // All that are bad are named, so that the set can be accepted without them.
    const named = [...errors.flatMap(({ episode }) => episode ?? []), ...(others ?? [])];
    expect(named.sort((a, b) => a - b)).toEqual(episodes.map((_, index) => index));
  });

  it('names episodes that are apart, as many as a message has room for', () => {
    const findings = new Findings();
    const tell = (episode?: number): void =>
      findings.add({
        severity: 'error',
        code: 'c',
        message: 'm',
        fix: 'f',
        ...(episode === undefined ? {} : { episode }),
      });
    for (let i = 0; i < 20; i += 1) tell(i);
    for (const episode of [31, 30, 24, 24, 32]) tell(episode);
    expect(findings.list().at(-1)).toMatchObject({
      message: '5 more findings of this kind, in episodes 24, 30-32',
      episodes: [24, 30, 31, 32],
    });
    for (let i = 100; i < 300; i += 2) tell(i);
    const last = findings.list().at(-1);
    expect(last?.message).toMatch(/105 more .*, in episodes 24, 30-32, 100, .*, …$/);
    expect(last?.message.length).toBeLessThan(300);
    expect(last?.episodes).toHaveLength(104);
  });

  it('names no episodes of what is the set’s', () => {
    const findings = new Findings();
    const finding = { severity: 'warning', code: 'c', message: 'm', fix: 'f' } as const;
    for (let i = 0; i < 22; i += 1) findings.add({ ...finding, feature: `state.${i}` });
    const last = findings.list().at(-1);
    expect(last?.message).toBe('2 more findings of this kind');
    expect(last).not.toHaveProperty('episodes');
  });

  it('stops when it is cancelled', async () => {
    const controller = new AbortController();
    const checking = validateSource(fromDirectory(good.directory), smallSpec, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(checking).rejects.toMatchObject({ code: 'cancelled' });
  });

  describeWithRecording('g1-bottle-heldout', (directory) => {
    it('takes a real recording, and sees what is odd about it', async () => {
      const one = join(scratch, 'one');
      for (const path of [
        'data/chunk-000/episode_000003.parquet',
        'videos/chunk-000/observation.images.cam_high/episode_000003.mp4',
        'meta/info.json',
        'meta/tasks.jsonl',
        'meta/episodes.jsonl',
      ]) {
        await cp(join(directory, path), join(one, path));
      }
      const lines = await readFile(join(one, 'meta/episodes.jsonl'), 'utf8');
      const line = lines.split('\n').find((text) => text.includes('"episode_index": 3,')) ?? '';
      await writeFile(join(one, 'meta/episodes.jsonl'), line);
      const dataset = await openDataset(fromDirectory(one));
      const report = await validateSource(fromDirectory(one), recordedSpec(dataset));
      // Its camera gave every second picture twice at first: 104 of 344 are the picture before.
      expect(report.findings).toMatchObject([
        { severity: 'warning', code: 'repeated_frames', episode: 3, feature: 'cam_high' },
      ]);
      expect(report.frames).toBe(dataset.episodes[0]?.length);
      expect(report.frames).toBeGreaterThan(100);
    });
  });

  async function writeRows(
    directory: string,
    fps: number,
    vectors: Parameters<typeof episodeParquet>[0]['vectors'] = {
      'observation.state': { width: 3, values: smallEpisode(1).state },
      action: { width: 3, values: smallEpisode(1).action },
    },
  ): Promise<void> {
    const place = { episodeIndex: 1, taskIndex: 1, firstIndex: 30, fps, length: 30 };
    await writeFile(join(directory, DATA), episodeParquet({ ...place, vectors }));
  }
});
