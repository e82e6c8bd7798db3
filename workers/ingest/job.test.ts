import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import pino from 'pino';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  and,
  cancelJob,
  claimJob,
  type ClaimedJob,
  datasetFiles,
  datasets,
  enqueue,
  eq,
  jobEvents,
  jobs,
  sql,
  withTenant,
} from '@armature/db';
import { fromDirectory, fromStore, openDataset, withoutEpisodes } from '@armature/datasets';
import { ArmatureError, datasetReportSchema, storedEpisodesSchema } from '@armature/sdk/contract';
import { DiskStore, type ObjectStore } from '@armature/storage';
import { bundled } from '../../test/support/bundle.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../test/support/postgres.ts';
import {
  discPicture,
  smallEpisode,
  smallSpec,
  writeSmallDataset,
} from '../../test/support/small-dataset.ts';
import { addOwner, addUploadedSet } from '../../test/support/uploaded-set.ts';
import { type IngestServices, runIngest } from './job.ts';

const SECRET = 'a secret that is only for tests, 32+';

describe('runIngest', () => {
  let server: TestPostgres;
  let db: TestDatabase;
  let set: Awaited<ReturnType<typeof writeSmallDataset>>;
  let folder: string;
  let store: DiskStore;
  let tenantId: string;
  let prefix: string;
  let checker: string;
  const video = 'videos/chunk-000/observation.images.top/episode_000001.mp4';
  const running = new AbortController().signal;

  beforeAll(async () => {
    server = await startTestPostgres();
    set = await writeSmallDataset();
    checker = await bundled('workers/ingest/checker.ts');
  });
  afterAll(async () => {
    await server.stop();
    await set.remove();
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  let datasetId: string;
  beforeEach(async () => {
    db = await server.database();
    folder = await mkdtemp(join(tmpdir(), 'armature-ingest-'));
    store = new DiskStore({
      kind: 'disk',
      root: join(folder, 'store'),
      publicUrl: 'http://127.0.0.1:1',
      secret: SECRET,
    });
    const owner = await addOwner(db.app, smallSpec);
    tenantId = owner.tenantId;
    ({ id: datasetId, prefix } = await addUploadedSet(db.app, store, owner, set.directory));
  });

  const services = (more: Partial<IngestServices> = {}): IngestServices => ({
    db: db.worker,
    store,
    scratch: join(folder, 'scratch'),
    lanes: 2,
    memoryMib: 1_024,
    checker,
    beatMs: 100,
    nowMs: () => performance.now(),
    log: pino({ level: 'silent' }),
    ...more,
  });
  const claim = async (leaseMs = 60_000): Promise<ClaimedJob> => {
    const job = await claimJob(db.worker, { kind: 'ingest', owner: 'test', leaseMs });
    if (job === null) throw new Error('nothing was claimed');
    return job;
  };
  const run = async (
    job: ClaimedJob,
    more: Partial<IngestServices> = {},
    stop: AbortSignal = running,
  ): Promise<void> => runIngest(job, performance.now(), services(more), stop);
  const look = () =>
    withTenant(db.app, tenantId, async (tx) => {
      const [dataset] = await tx.select().from(datasets).where(eq(datasets.id, datasetId));
      const [job] = await tx.select().from(jobs).where(eq(jobs.subjectId, datasetId));
      const events = await tx
        .select()
        .from(jobEvents)
        .where(eq(jobEvents.subjectId, datasetId))
        .orderBy(jobEvents.seq);
      if (dataset === undefined || job === undefined) throw new Error('the rows are gone');
      return { dataset, job, events: events.map((event) => event.message) };
    });
  const findings = (report: unknown) =>
    datasetReportSchema.parse(report).findings.map(({ code, feature }) => [code, feature]);
  const due = () =>
    withTenant(db.worker, tenantId, (tx) =>
      tx
        .update(jobs)
        .set({ runAt: sql`now()` })
        .where(eq(jobs.subjectId, datasetId)),
    );
  /** The store as one that has no local files, with a hook before every read. */
  const remote = (before: (key: string) => void | Promise<void>): ObjectStore =>
    new Proxy<ObjectStore>(store, {
      get(target, name: keyof ObjectStore) {
        if (name === 'localPath') return undefined;
        if (name !== 'get') {
          const value = target[name];
          return typeof value === 'function' ? value.bind(target) : value;
        }
        return async (key: string, range?: { start: number; end: number }) => {
          await before(key);
          return await target.get(key, range);
        };
      },
    });

  it('makes a good set ready, with its report', async () => {
    await run(await claim());
    const { dataset, job, events } = await look();
    expect(dataset).toMatchObject({ status: 'ready', progress: 1 });
    const report = datasetReportSchema.parse(dataset.report);
    expect(report).toMatchObject({ episodes: 3, frames: 90, findings: [] });
    expect(report.stats?.state.names).toEqual(['shoulder', 'elbow', 'gripper']);
    expect(job).toMatchObject({ status: 'succeeded', leaseOwner: null });
    expect(events).toEqual(['validating', 'ready']);
  });

  it('leaves statistics and a few small pictures of every episode beside the files', async () => {
    const derived = prefix.replace(/files\/$/, 'derived/');
    await store.put(`${derived}episodes-7.json`, Buffer.from('of an earlier validation'));
    await run(await claim());
    const objects: { key: string; size: number }[] = [];
    for await (const { key, size } of store.list(derived)) {
      objects.push({ key: key.slice(derived.length), size });
    }
    expect(objects.map(({ key }) => key)).toEqual(
      [0, 1, 2]
        .flatMap((episode) => [0, 14, 29].map((frame) => `${episode}-0-${frame}.jpg`))
        .concat('episodes-0.json')
        .sort(),
    );
    expect(Math.max(...objects.map(({ size }) => size))).toBeLessThan(20_000);
    const text = Buffer.from(await store.get(`${derived}episodes-0.json`)).toString();
    const episodes = storedEpisodesSchema.parse(JSON.parse(text));
    expect(episodes.map(({ episode }) => episode)).toEqual([0, 1, 2]);
    const grip = Array.from(smallEpisode(1).action).filter((_, i) => i % 3 === 2);
    const mean = grip.reduce((sum, value) => sum + value, 0) / grip.length;
    expect(episodes[1]).toMatchObject({ frames: 30, seconds: 3, task: 'reach for disc 1' });
    expect(episodes[1]?.action?.mean[2]).toBeCloseTo(mean, 6);
    expect(episodes[1]?.action?.max[2]).toBe(1);
    const [first, middle, last] = episodes[1]?.pictures ?? [];
    for (const picture of [first, middle, last]) {
      const jpeg = await store.get(`${derived}${picture?.file ?? ''}`);
      const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true });
      expect(info).toMatchObject({ format: 'raw', width: 48, height: 48, channels: 3 });
      const shown = discPicture(1, picture?.frame ?? -1);
      const off = shown.reduce((sum, value, i) => sum + Math.abs(value - (data[i] ?? 0)), 0);
      expect(off / shown.length).toBeLessThan(12);
    }
  });

  it('reads every file of a distant store once and leaves no copies', async () => {
    const read = new Map<string, number>();
    await run(await claim(), {
      store: remote((key) => {
        read.set(key, (read.get(key) ?? 0) + 1);
      }),
    });
    expect((await look()).dataset.status).toBe('ready');
    expect(read.size).toBe((await fromDirectory(set.directory).list()).length);
    expect([...read.values()].every((count) => count === 1)).toBe(true);
    expect(await readdir(join(folder, 'scratch'))).toEqual([]);
  });

  const uploads: [string, string, (bytes: Uint8Array) => Uint8Array | null, string][] = [
    [
      'changed',
      video,
      (bytes) => bytes.map((b, i) => (i === 900 ? b ^ 1 : b)),
      'checksum_mismatch',
    ],
    ['cut off', video, (bytes) => bytes.subarray(0, 1000), 'incomplete_upload'],
    ['missing', video, () => null, 'incomplete_upload'],
    ['changed', 'meta/info.json', (bytes) => bytes.map((b) => b ^ 1), 'checksum_mismatch'],
    ['cut off', 'meta/episodes_stats.jsonl', (bytes) => bytes.subarray(1), 'incomplete_upload'],
  ];
  it.each(uploads)('rejects a set with a %s %s', async (_how, path, change, code) => {
    const bytes = change(await readFile(join(set.directory, path)));
    if (bytes === null) await store.delete(prefix + path);
    else await store.put(prefix + path, bytes);
    await run(await claim());
    const { dataset, job } = await look();
    expect(dataset.status).toBe('rejected');
    expect(job.status).toBe('succeeded');
    const report = datasetReportSchema.parse(dataset.report);
    expect(report.findings).toHaveLength(1);
    expect(report.findings[0]).toMatchObject({ severity: 'error', code });
    expect(report.findings[0]?.message).toContain(path);
  });

  it('takes a set without the episode that was bad', async () => {
    const cut = (await readFile(join(set.directory, video))).subarray(0, 1000);
    const sha256 = createHash('sha256').update(cut).digest('hex');
    await store.put(prefix + video, cut);
    await withTenant(db.app, tenantId, (tx) =>
      tx
        .update(datasetFiles)
        .set({ size: cut.length, sha256 })
        .where(and(eq(datasetFiles.datasetId, datasetId), eq(datasetFiles.path, video))),
    );
    await run(await claim());
    const rejected = (await look()).dataset;
    expect(rejected.status).toBe('rejected');
    expect(datasetReportSchema.parse(rejected.report).findings).toMatchObject([
      { severity: 'error', episode: 1, feature: 'top' },
    ]);
    await withTenant(db.app, tenantId, async (tx) => {
      await tx
        .update(datasets)
        .set({ status: 'validating', excludedEpisodes: [1] })
        .where(eq(datasets.id, datasetId));
      await enqueue(tx, { tenantId, kind: 'ingest', subjectId: datasetId });
    });
    await run(await claim());
    const { dataset } = await look();
    expect(dataset.status).toBe('ready');
    const report = datasetReportSchema.parse(dataset.report);
    expect(report).toMatchObject({ episodes: 2, frames: 60, findings: [] });
    const left = withoutEpisodes(await openDataset(fromStore(store, prefix)), [1]);
    expect(left.episodes.map(({ index }) => index)).toEqual([0, 2]);
    await expect(left.readEpisode(1)).rejects.toMatchObject({ code: 'not_found' });
    expect((await left.readEpisode(2)).length).toBe(30);
  });

  it('gives the job back when the process stops, and the next one finishes it', async () => {
    const stop = new AbortController();
    await run(await claim(), { store: remote(() => stop.abort()) }, stop.signal);
    const between = await look();
    expect(between.dataset).toMatchObject({ status: 'validating', report: null, progress: 0 });
    expect(between.job.status).toBe('queued');
    await run(await claim());
    const { dataset, job, events } = await look();
    expect(dataset.status).toBe('ready');
    expect(job.attempt).toBe(2);
    expect(events.at(-1)).toBe('ready');
  });

  it('goes on after a crash, and the crashed one writes nothing any more', async () => {
    const crashed = await claim(1_000);
    let wake = (): void => undefined;
    const frozen = new Promise<void>((resolve) => (wake = resolve));
    const first = run(crashed, { store: remote(() => frozen), beatMs: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await run(await claim());
    const done = await look();
    expect(done.dataset.status).toBe('ready');
    wake();
    await first;
    expect(await look()).toEqual(done);
  });

  it('stops when it is cancelled', async () => {
    const job = await claim();
    await run(job, {
      store: remote(async () => {
        await withTenant(db.app, tenantId, (tx) =>
          cancelJob(tx, { tenantId, kind: 'ingest', subjectId: datasetId }),
        );
        await new Promise((resolve) => setTimeout(resolve, 150));
      }),
    });
    const { dataset, job: row } = await look();
    expect(row.status).toBe('cancelled');
    expect(dataset.status).toBe('rejected');
    expect(findings(dataset.report)).toEqual([['cancelled', undefined]]);
  });

  it('never rejects a good set for what the platform does, however often it fails or stops', async () => {
    const broken = remote(() => {
      throw new ArmatureError('unavailable', 'the store is away');
    });
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 12; attempt += 1) {
      await due();
      const asked = Date.now();
      const isToFail = attempt % 2 === 0;
      await run(await claim(), { store: broken }, isToFail ? running : AbortSignal.abort());
      const { dataset, job } = await look();
      expect(job).toMatchObject({ status: 'queued', attempt });
      expect(dataset).toMatchObject({ status: 'validating', report: null });
      if (isToFail) waits.push((job.runAt.getTime() - asked) / 1000);
    }
    waits.forEach((seconds, i) => {
      expect(Math.round(seconds)).toBeGreaterThanOrEqual(2 * 2 ** i);
    });
    await due();
    await run(await claim());
    expect((await look()).dataset).toMatchObject({ status: 'ready' });
  });

  it('lets a set wait that lost five workers, and takes it again', async () => {
    const lose = () =>
      withTenant(db.worker, tenantId, (tx) =>
        tx
          .update(jobs)
          .set({ leaseUntil: sql`now() - interval '1 second'` })
          .where(eq(jobs.subjectId, datasetId)),
      );
    for (let lost = 1; lost <= 5; lost += 1) {
      await claim();
      await lose();
    }
    await run(await claim());
    const { dataset, job } = await look();
    expect([dataset.status, job.status]).toEqual(['validating', 'queued']);
    expect(job.runAt.getTime()).toBeGreaterThan(Date.now() + 30_000);
    await due();
    await run(await claim());
    expect((await look()).dataset.status).toBe('ready');
  });

  it('runs as a process that gets ready, validates and stops cleanly', async () => {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', fileURLToPath(new URL('./main.ts', import.meta.url))],
      {
        env: {
          PATH: process.env['PATH'],
          WORKER_ID: 'ingest-test',
          DATABASE_URL: db.workerUrl,
          STORE_KIND: 'disk',
          STORE_ROOT: join(folder, 'store'),
          STORE_PUBLIC_URL: 'http://127.0.0.1:1',
          STORE_SECRET: SECRET,
          CACHE_DIR: join(folder, 'cache'),
          POLL_MS: '50',
          LOG_LEVEL: 'warn',
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const exited = once(child, 'exit');
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    expect(JSON.parse(line.toString())).toEqual({ ready: true });
    await vi.waitUntil(async () => (await look()).dataset.status === 'ready', {
      timeout: 60_000,
      interval: 100,
    });
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    expect((await look()).job.status).toBe('succeeded');
  });
});
