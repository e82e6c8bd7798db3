import { createHash } from 'node:crypto';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimJob } from '@armature/db';
import { fromDirectory } from '@armature/datasets';
import { openStore, type ObjectStore } from '@armature/storage';
import { Armature, downloadPolicy } from '@armature/sdk';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runIngest } from '../workers/ingest/job.ts';
import { runFinetune } from '../workers/train/job/run.ts';
import type { Workshop } from '../workers/train/job/workshop.ts';
import { startTestApi, type TestApi } from './support/api.ts';
import { fileOf } from './support/robots.ts';
import { smallSpec, writeSmallDataset } from './support/small-dataset.ts';
import { toyWorkshop } from './support/train.ts';
import { findVersitygw, startVersitygw, type RunningVersitygw } from './support/versitygw.ts';

const binary = findVersitygw();
if (binary === null && process.env['ARMATURE_REQUIRE_S3'] === '1') {
  throw new Error('ARMATURE_REQUIRE_S3 is 1 and there is no versitygw');
}

describe.skipIf(binary === null)('data in and a policy out over S3', () => {
  let server: RunningVersitygw;
  let store: ObjectStore;
  let api: TestApi;
  let set: Awaited<ReturnType<typeof writeSmallDataset>>;
  let scratch: string;
  /** The tenant's, whose set is ready after the first test. */
  let key: string;
  let tenant: string;
  let dataset: string;
  beforeAll(async () => {
    if (binary === null) return;
    server = await startVersitygw(binary);
    const { endpoint, accessKeyId, secretAccessKey } = server;
    const at = { endpoint, region: 'us-east-1', forcePathStyle: true };
    const credentials = { accessKeyId, secretAccessKey };
    await new S3Client({ ...at, credentials }).send(new CreateBucketCommand({ Bucket: 'sets' }));
    store = openStore({ kind: 's3', bucket: 'sets', ...at, ...credentials });
    api = await startTestApi({ objectStore: store });
    set = await writeSmallDataset();
    scratch = await mkdtemp(join(tmpdir(), 'armature-s3-ingest-'));
  });
  afterAll(async () => {
    await api.stop();
    await server.stop();
    await set.remove();
    await rm(scratch, { recursive: true, force: true });
  });

  it('is planned, sent to URLs that S3 checks, completed by HEAD, validated and looked at', async () => {
    ({ key, id: tenant } = await api.tenant());
    const { id: embodiment } = await api.must('embodiments.create', key, { spec: smallSpec });
    const paths = await fromDirectory(set.directory).list();
    const bytesOf = (path: string): Promise<Buffer> => readFile(join(set.directory, path));
    const files = await Promise.all(paths.map(async (path) => fileOf(path, await bytesOf(path))));
    const plan = await api.must('datasets.create', key, {
      name: 'small',
      embodiment_id: embodiment,
      files,
    });
    expect(plan.parts).toHaveLength(paths.length);
    const put = async (part: (typeof plan.parts)[number], body: Uint8Array): Promise<number> => {
      const { method, headers } = part;
      const answer = await fetch(part.url, { method, headers, body });
      await answer.arrayBuffer();
      return answer.status;
    };
    const [first, ...rest] = plan.parts;
    if (first === undefined) throw new Error('the plan has no part');
    const wrong = (await bytesOf(first.path)).map((byte) => byte ^ 1);
    expect(await put(first, wrong)).toBeGreaterThanOrEqual(400);
    for (const part of rest) expect(await put(part, await bytesOf(part.path))).toBe(200);

    const id = plan.dataset.id;
    dataset = id;
    expect(await api.call('datasets.complete', key, { id })).toMatchObject({
      status: 422,
      problem: { code: 'incomplete_upload', field: first.path },
    });
    const { parts: missing } = await api.must('datasets.plan', key, { id });
    expect(missing.map(({ path }) => path)).toEqual([first.path]);
    for (const part of missing) expect(await put(part, await bytesOf(part.path))).toBe(200);
    expect((await api.must('datasets.complete', key, { id })).status).toBe('validating');
    // Sealed: what was planned for another body still takes no other.
    expect(await put(first, wrong)).toBeGreaterThanOrEqual(400);

    const db = api.db.worker;
    const job = await claimJob(db, { kind: 'ingest', owner: 'w', leaseMs: 60_000 });
    if (job === null) throw new Error('nothing was claimed');
    await runIngest(
      job,
      performance.now(),
      {
        db,
        store,
        scratch,
        lanes: 2,
        memoryMib: 1_024,
        beatMs: 500,
        nowMs: () => performance.now(),
        log: pino({ level: 'silent' }),
      },
      new AbortController().signal,
    );
    const ready = await api.must('datasets.get', key, { id });
    expect(ready).toMatchObject({ status: 'ready', report: { episodes: 3, findings: [] } });
    const { items } = await api.must('datasets.episodes', key, { id });
    const url = items[2]?.pictures[0]?.url ?? '';
    const picture = await fetch(url);
    expect(picture.status).toBe(200);
    expect([...new Uint8Array(await picture.arrayBuffer()).subarray(0, 2)]).toEqual([0xff, 0xd8]);
  });

  it('is trained on with checkpoints, packaged, and fetched from URLs that S3 checks', async () => {
    const { id } = await api.must('finetunes.create', key, {
      name: 'tiny',
      dataset_id: dataset,
      options: { steps: 3, images: 'use' },
    });
    const db = api.db.worker;
    const run = async (workshop: Workshop, stop: AbortSignal): Promise<void> => {
      const job = await claimJob(db, { kind: 'finetune', owner: 'w', leaseMs: 60_000 });
      if (job === null) throw new Error('nothing was claimed');
      const services = {
        db,
        store,
        log: pino({ level: 'silent' }),
        nowMs: () => performance.now(),
        openWorkshop: () => Promise.resolve(workshop),
        vision: null,
        cacheDir: join(scratch, 'cache'),
        threads: 1,
        beatMs: 500,
        checkpointEveryS: 0,
        code: { version: '1.2.3', build: 'test' },
      };
      await runFinetune(job, performance.now(), services, stop);
    };
    const stop = new AbortController();
    const onStep = (step: number): void => {
      if (step === 2) stop.abort();
    };
    await run(toyWorkshop({ onStep }), stop.signal);
    const steps: number[] = [];
    await run(
      toyWorkshop({ onStep: (step) => void steps.push(step) }),
      new AbortController().signal,
    );
    expect(steps).toEqual([3]);
    const done = await api.must('finetunes.get', key, { id });
    expect(done).toMatchObject({ status: 'succeeded', error: null });

    const client = new Armature({ apiUrl: api.url, apiKey: key });
    const dir = join(scratch, 'policy');
    const got = await downloadPolicy({ client, id: done.policy_version_id ?? '', dir });
    const manifest = await readFile(join(dir, 'manifest.json'));
    expect(createHash('sha256').update(manifest).digest('hex')).toBe(got.digest);
    const keys: string[] = [];
    for await (const object of store.list(`tenants/${tenant}/`)) keys.push(object.key);
    expect(keys.filter((name) => name.includes('/finetunes/'))).toEqual([]);
    for (const { path, size } of got.files) {
      const object = keys.find((name) => name.endsWith(`${got.digest}-${id}/${path}`)) ?? '';
      const bytes = await store.get(object);
      expect(bytes.length).toBe(size);
      expect((await readFile(join(dir, path))).equals(bytes)).toBe(true);
    }
    expect(got.files.map(({ path }) => path)).toEqual(['head.safetensors', 'manifest.json']);
  });
});
