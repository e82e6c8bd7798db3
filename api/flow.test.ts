import {
  claimJob,
  datasets,
  eq,
  finetunes,
  heartbeat,
  jobs,
  settle,
  withTenant,
} from '@armature/db';
import {
  MAX_FILE_BYTES,
  sessionClaimsSchema,
  type StoredEpisodes,
  type UploadPart,
} from '@armature/sdk/contract';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../test/support/api.ts';
import { wantsTwoProcesses } from '../test/support/two-processes.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';
import {
  addPolicyVersion,
  addServeWorker,
  addUnusedReasoning,
  addUsage,
  markDataset,
  markReady,
} from '../test/support/rows.ts';

let api: TestApi;
let tenant: string;
let key: string;
let embodiment: string;

beforeAll(async () => {
  api = await startTestApi();
  ({ id: tenant, key } = await api.tenant());
  ({ id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec }));
});
afterAll(async () => api.stop());

const contents = new Map([
  ['meta/info.json', Buffer.from('{"codebase_version":"v2.1"}')],
  ['data/chunk-000/episode_000000.parquet', Buffer.alloc(70_000, 3)],
  ['videos/chunk-000/front/episode_000000.mp4', Buffer.alloc(300_000, 9)],
]);
const planned = async () =>
  api.must('datasets.create', key, {
    name: 'demos',
    embodiment_id: embodiment,
    files: [...contents].map(([path, bytes]) => fileOf(path, bytes)),
  });
const put = async (part: UploadPart) => {
  const body = contents.get(part.path);
  if (body === undefined) throw new Error(`no file ${part.path}`);
  const answer = await fetch(part.url, { method: 'PUT', headers: part.headers, body });
  expect(answer.status).toBe(200);
};
const jobsOf = (subject: string) =>
  withTenant(api.db.app, tenant, (tx) => tx.select().from(jobs).where(eq(jobs.subjectId, subject)));

describe('a data set', () => {
  it('is planned, uploaded, resumed, completed, and then has a job to validate it', async () => {
    const { dataset, parts } = await planned();
    expect(dataset).toMatchObject({ status: 'uploading', files: 3, progress: 0, report: null });
    expect(dataset.bytes).toBe([...contents.values()].reduce((sum, { length }) => sum + length, 0));
    const [first, ...rest] = parts;
    if (first === undefined) throw new Error('the plan has no part');
    await put(first);

    const early = await api.call('datasets.complete', key, { id: dataset.id });
    expect(early).toMatchObject({ status: 422, problem: { code: 'incomplete_upload' } });
    expect(rest.map(({ path }) => path)).toContain(early.problem?.field);
    expect(await jobsOf(dataset.id)).toEqual([]);

    const resumed = await api.must('datasets.plan', key, { id: dataset.id });
    expect(resumed.parts.map(({ path }) => path).sort()).toEqual(
      rest.map(({ path }) => path).sort(),
    );
    for (const part of resumed.parts) await put(part);
    const done = await api.must('datasets.complete', key, { id: dataset.id });
    expect(done.status).toBe('validating');
    expect(await jobsOf(dataset.id)).toMatchObject([{ kind: 'ingest', status: 'queued' }]);
    expect(await api.must('datasets.complete', key, { id: dataset.id })).toEqual(done);
    expect(await jobsOf(dataset.id)).toHaveLength(1);
    expect((await api.must('datasets.plan', key, { id: dataset.id })).parts).toEqual([]);

    const claimed = await claimJob(api.db.worker, { kind: 'ingest', owner: 'w', leaseMs: 5000 });
    expect(claimed).toMatchObject({ subjectId: dataset.id, tenantId: tenant });
    const bytes = await api.store.get(
      `tenants/${tenant}/datasets/${dataset.id}/files/meta/info.json`,
    );
    expect(Buffer.from(bytes).toString()).toContain('v2.1');
  });

  it('completes once when completed at the same time', async () => {
    const { dataset, parts } = await planned();
    for (const part of parts) await put(part);
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => api.call('datasets.complete', key, { id: dataset.id })),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(await jobsOf(dataset.id)).toHaveLength(1);
  });

  it('finds a file that is there with other bytes', async () => {
    const { dataset, parts } = await planned();
    for (const part of parts) await put(part);
    const path = 'data/chunk-000/episode_000000.parquet';
    const at = `tenants/${tenant}/datasets/${dataset.id}/files/${path}`;
    await api.store.put(at, Buffer.alloc(70_000, 4));
    expect(await api.call('datasets.complete', key, { id: dataset.id })).toMatchObject({
      status: 422,
      problem: { code: 'checksum_mismatch', field: path },
    });
    await api.store.put(at, Buffer.alloc(10));
    expect(await api.call('datasets.complete', key, { id: dataset.id })).toMatchObject({
      status: 422,
      problem: { code: 'incomplete_upload', field: path },
    });
  });

  it('is sealed: no URL from before changes a byte after it is complete', async () => {
    const { dataset, parts } = await planned();
    for (const part of parts) await put(part);
    await api.must('datasets.complete', key, { id: dataset.id });
    for (const part of parts) {
      const at = `tenants/${tenant}/datasets/${dataset.id}/files/${part.path}`;
      const before = await api.store.head(at);
      const answer = await fetch(part.url, {
        method: 'PUT',
        headers: part.headers,
        body: Buffer.alloc(part.size, 7),
      });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(await answer.json()).toMatchObject({ code: 'checksum_mismatch' });
      expect(await api.store.head(at)).toEqual(before);
    }
  });

  // It takes the API's own store in hand.
  const inOneProcess = it.skipIf(wantsTwoProcesses());
  inOneProcess(
    'hashes the bytes itself, a piece at a time, where the store knows no checksum',
    async () => {
      const large = Buffer.alloc(5 << 20, 5);
      const plan = await api.must('datasets.create', key, {
        name: 'large',
        embodiment_id: embodiment,
        files: [fileOf('large.bin', large)],
      });
      await api.store.put(`tenants/${tenant}/datasets/${plan.dataset.id}/files/large.bin`, large);
      const { dataset, parts } = await planned();
      for (const part of parts) await put(part);
      const head = api.store.head.bind(api.store);
      const get = api.store.get.bind(api.store);
      const pieces: number[] = [];
      Object.assign(api.store, {
        get: async (...asked: Parameters<typeof get>) => {
          const bytes = await get(...asked);
          pieces.push(bytes.length);
          return bytes;
        },
        head: async (at: string) => {
          const found = await head(at);
          return found === null ? null : { size: found.size };
        },
      });
      try {
        const path = 'data/chunk-000/episode_000000.parquet';
        const at = `tenants/${tenant}/datasets/${dataset.id}/files/${path}`;
        await api.store.put(at, Buffer.alloc(70_000, 4));
        expect(await api.call('datasets.complete', key, { id: dataset.id })).toMatchObject({
          problem: { code: 'checksum_mismatch', field: path },
        });
        await api.store.put(at, Buffer.alloc(70_000, 3));
        expect((await api.call('datasets.complete', key, { id: dataset.id })).status).toBe(200);
        expect((await api.call('datasets.complete', key, { id: plan.dataset.id })).status).toBe(
          200,
        );
        expect(Math.max(...pieces)).toBe(1 << 20);
      } finally {
        Object.assign(api.store, { head, get });
      }
    },
  );

  it('that was rejected is validated again without the episodes that are named', async () => {
    const { dataset } = await planned();
    const input = { id: dataset.id, without_episodes: [3, 1, 3] };
    expect(await api.call('datasets.accept', key, input)).toMatchObject({
      status: 409,
      problem: { code: 'conflict', field: 'id' },
    });
    await markDataset(api.db.worker, tenant, dataset.id, 'rejected');
    const accepted = await api.must('datasets.accept', key, input);
    expect(accepted).toMatchObject({ status: 'validating', without_episodes: [1, 3] });
    expect(await jobsOf(dataset.id)).toMatchObject([{ kind: 'ingest', status: 'queued' }]);
    const none = await api.call('datasets.accept', key, { ...input, without_episodes: [] });
    expect(none).toMatchObject({ status: 400, problem: { field: 'without_episodes' } });
  });

  it('shows its episodes, with URLs of their pictures, once it is validated', async () => {
    const { dataset } = await planned();
    const nothing = { items: [], next_page: null };
    expect(await api.must('datasets.episodes', key, { id: dataset.id })).toMatchObject(nothing);
    const at = `tenants/${tenant}/datasets/${dataset.id}/derived/`;
    const jpeg = Buffer.from('a picture');
    const stats = { mean: [0], std: [0], min: [0], max: [0] };
    const stored: StoredEpisodes = Array.from({ length: 50 }, (_, episode) => ({
      episode,
      frames: 10,
      seconds: 1,
      task: 'reach',
      state: stats,
      action: null,
      pictures: [{ camera: 'top', frame: 0, width: 160, height: 120, file: '0-0-0.jpg' }],
    }));
    await api.store.put(`${at}episodes-0.json`, Buffer.from(JSON.stringify(stored)));
    await api.store.put(`${at}episodes-1.json`, Buffer.from(JSON.stringify(stored.slice(0, 1))));
    await api.store.put(`${at}0-0-0.jpg`, jpeg);
    expect(await api.must('datasets.episodes', key, { id: dataset.id })).toMatchObject(nothing);
    await markReady(api.db.worker, tenant, dataset.id);
    const page = await api.must('datasets.episodes', key, { id: dataset.id });
    expect(page).toMatchObject({ next_page: 1, items: { length: 50 } });
    expect(page.items[3]).toMatchObject({ episode: 3, state: stats, action: null });
    const url = page.items[3]?.pictures[0]?.url ?? '';
    expect(Buffer.from(await (await fetch(url)).arrayBuffer())).toEqual(jpeg);
    const last = await api.must('datasets.episodes', key, { id: dataset.id, page: 1 });
    expect(last).toMatchObject({ next_page: null, items: { length: 1 } });
  });

  it.each([
    ['../up', 'files[1].path'],
    ['/abs', 'files[1].path'],
    ['a//b', 'files[1].path'],
    ['a/./b', 'files[1].path'],
    ['ok', 'files[1].path'],
    ['ok/below', 'files[0].path'],
    ['a b', 'files[1].path'],
    ['ok/..', 'files[1].path'],
    ['C:\\up', 'files[1].path'],
    ['ok\u0000', 'files[1].path'],
    ['%2e%2e/up', 'files[1].path'],
    ['episodes.zip', 'files[1].path'],
    ['data/episodes.tar.gz', 'files[1].path'],
  ])('refuses the path %j', async (path, field) => {
    const file = { size: 1, sha256: '0'.repeat(64) };
    const answer = await api.call('datasets.create', key, {
      name: 'd',
      embodiment_id: embodiment,
      files: [
        { ...file, path: 'ok' },
        { ...file, path },
      ],
    });
    expect(answer).toMatchObject({ status: 400, problem: { code: 'invalid_request', field } });
  });

  it('refuses a file that is larger than one upload takes', async () => {
    const file = { path: 'long.mp4', size: MAX_FILE_BYTES + 1, sha256: '0'.repeat(64) };
    const input = { name: 'd', embodiment_id: embodiment, files: [file] };
    expect(await api.call('datasets.create', key, input)).toMatchObject({
      status: 400,
      problem: { code: 'invalid_request', field: 'files[0].size' },
    });
  });

  it('is listed newest first, page after page', async () => {
    const all = await api.must('datasets.list', key, { limit: 200 });
    expect(all.next_cursor).toBeNull();
    const paged: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await api.must('datasets.list', key, {
        limit: 1,
        ...(cursor === undefined ? {} : { cursor }),
      });
      paged.push(...page.items.map(({ id }) => id));
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
    expect(paged).toEqual(all.items.map(({ id }) => id));
    expect(paged.length).toBeGreaterThan(2);
    const times = all.items.map(({ created_at }) => created_at);
    expect(times).toEqual([...times].sort().reverse());
  });
});

describe('a fine-tune', () => {
  const ready = async () => {
    const { dataset } = await planned();
    await markReady(api.db.worker, tenant, dataset.id);
    return dataset.id;
  };
  const create = (datasetId: string, options = {}, heldout?: string) =>
    api.call('finetunes.create', key, {
      name: 'f',
      dataset_id: datasetId,
      options,
      ...(heldout === undefined ? {} : { heldout_dataset_id: heldout }),
    });

  it('wants data sets that are uploaded and not rejected, of one embodiment', async () => {
    const { dataset } = await planned();
    const set = (status: 'validating' | 'rejected') =>
      withTenant(api.db.worker, tenant, async (tx) => {
        await tx.update(datasets).set({ status }).where(eq(datasets.id, dataset.id));
      });
    const refused = async (code: string) =>
      expect(await create(dataset.id)).toMatchObject({ problem: { code, field: 'dataset_id' } });
    await refused('incomplete_upload');
    await set('validating');
    expect((await create(dataset.id)).ok?.status).toBe('validating');
    await set('rejected');
    await refused('invalid_dataset');
    const training = await ready();
    expect(await create(training, {}, dataset.id)).toMatchObject({
      problem: { code: 'invalid_dataset', field: 'heldout_dataset_id' },
    });
    expect(await create(training, {}, training)).toMatchObject({
      problem: { code: 'invalid_request', field: 'heldout_dataset_id' },
    });
    const other = await api.must('embodiments.create', key, { spec: armSpec });
    const foreign = await api.must('datasets.create', key, {
      name: 'd',
      embodiment_id: other.id,
      files: [fileOf('a', Buffer.from('a'))],
    });
    await markReady(api.db.worker, tenant, foreign.dataset.id);
    expect(await create(training, {}, foreign.dataset.id)).toMatchObject({
      status: 422,
      problem: { code: 'embodiment_mismatch', field: 'heldout_dataset_id' },
    });
  });

  it('wants a reference that the state can give', async () => {
    const training = await ready();
    expect(await create(training, { reference: 'last_command' })).toMatchObject({
      status: 400,
      problem: { code: 'invalid_request', field: 'options.reference' },
    });
    expect((await create(training, { reference: 'absolute' })).status).toBe(200);
  });

  it('wants no velocities beside the last command', async () => {
    const training = await ready();
    expect(await create(training, { velocity: 'use', reference: 'last_command' })).toMatchObject({
      status: 400,
      problem: { code: 'invalid_request', field: 'options.velocity' },
    });
    const asked = { velocity: 'use', reference: 'absolute' };
    expect((await create(training, asked)).status).toBe(200);
  });

  it('wants a prefix that leaves a chunk something to go on with', async () => {
    const training = await ready();
    const most = armSpec.horizon / 2;
    expect(await create(training, { prefix_delay_max: most + 1 })).toMatchObject({
      status: 400,
      problem: { code: 'invalid_request', field: 'options.prefix_delay_max' },
    });
    expect((await create(training, { prefix_delay_max: most })).status).toBe(200);
  });

  it('wants layers in few bits only where a mode leaves them as they are', async () => {
    const training = await ready();
    expect(await create(training, { frozen_weights: 'int8', mode: 'lora' })).toMatchObject({
      status: 400,
      problem: { code: 'invalid_request', field: 'options.frozen_weights' },
    });
    expect((await create(training, { frozen_weights: 'int8', mode: 'policy' })).status).toBe(200);
  });

  it('is queued with its job and its history, and cancelled while it waits', async () => {
    const made = (await create(await ready(), { steps: 3 })).ok;
    if (made === undefined) throw new Error('not created');
    expect(made).toMatchObject({
      status: 'queued',
      attempt: 0,
      options: { mode: 'head', seed: 0 },
    });
    expect(await jobsOf(made.id)).toMatchObject([{ kind: 'finetune', status: 'queued' }]);
    const cancelled = await api.must('finetunes.cancel', key, { id: made.id });
    expect(cancelled.status).toBe('cancelled');
    expect(cancelled.finished_at).not.toBeNull();
    expect(await api.must('finetunes.cancel', key, { id: made.id })).toEqual(cancelled);
    const { items } = await api.must('finetunes.events', key, { id: made.id });
    expect(items.map(({ seq, message }) => [seq, message])).toEqual([
      [1, 'queued'],
      [2, 'cancelled'],
    ]);
    const later = await api.must('finetunes.events', key, { id: made.id, after: 1 });
    expect(later.items).toEqual(items.slice(1));
  });

  it('is cancelled while it runs by its worker, and not once it has ended', async () => {
    const made = (await create(await ready())).ok;
    if (made === undefined) throw new Error('not created');
    const client = postgres(api.db.adminUrl, { max: 1 });
    await client`update jobs set status = 'cancelled' where status = 'queued' and subject_id <> ${made.id}`;
    await client.end();
    const job = await claimJob(api.db.worker, { kind: 'finetune', owner: 'w', leaseMs: 60_000 });
    if (job === null) throw new Error('nothing to claim');
    expect(job.subjectId).toBe(made.id);
    const asked = await api.must('finetunes.cancel', key, { id: made.id });
    expect(asked).toMatchObject({ status: 'cancelling', attempt: 1, finished_at: null });
    expect(await api.must('finetunes.cancel', key, { id: made.id })).toEqual(asked);
    expect(await heartbeat(api.db.worker, job)).toBe('cancel');
    await withTenant(api.db.worker, tenant, async (tx) => {
      const error = { code: 'internal', message: 'm' };
      await settle(tx, job, { status: 'failed', error });
      await tx.update(finetunes).set({ status: 'failed' }).where(eq(finetunes.id, made.id));
    });
    expect(await api.call('finetunes.cancel', key, { id: made.id })).toMatchObject({
      status: 409,
      problem: { code: 'conflict' },
    });
  });
});

describe('a session', () => {
  it('needs a deployed version and a worker, and says which is missing', async () => {
    const input = { robot: 'r1', embodiment_id: embodiment };
    expect(await api.call('sessions.create', key, input)).toMatchObject({
      status: 409,
      problem: { code: 'conflict', field: 'policy_version_id' },
    });
    const version = await addPolicyVersion(api.db.worker, tenant, embodiment);
    expect(await api.must('policies.get', key, { id: version })).toMatchObject({
      active: false,
      sampler: { steps: 10, noise_scale: 1 },
      prefix_delay_max: 3,
    });
    await api.must('policies.deploy', key, { id: version });
    expect(await api.must('policies.get', key, { id: version })).toMatchObject({ active: true });
    expect((await api.must('policies.list', key, {})).items).toMatchObject([{ active: true }]);
    const none = await api.call('sessions.create', key, input);
    expect(none).toMatchObject({ status: 503, problem: { code: 'unavailable' } });
    expect(none.problem?.fix).toBeTruthy();
    expect((await api.must('sessions.list', key, {})).items).toEqual([]);

    await addServeWorker(api.db.worker, 'stale');
    const client = postgres(api.db.adminUrl, { max: 1 });
    await client`update serve_workers set heartbeat_at = now() - interval '1 minute'`;
    await client.end();
    expect((await api.call('sessions.create', key, input)).status).toBe(503);
    await addServeWorker(api.db.worker, 'serve-1');

    const grant = await api.must('sessions.create', key, input);
    expect(grant).toMatchObject({
      url: 'ws://127.0.0.1:1/serve-1',
      announce_url: 'http://127.0.0.1:1/v1/allocations',
      session: { policy_version_id: version, epoch: 0, ended_at: null },
      embodiment: armSpec,
    });
    const jwks = createRemoteJWKSet(new URL('/.well-known/jwks.json', api.url));
    const accept = {
      audience: 'armature-workers',
      issuer: 'armature',
      typ: 'armature-session+jwt',
      algorithms: ['EdDSA'],
    };
    const first = await jwtVerify(grant.token, jwks, accept);
    expect(sessionClaimsSchema.parse(first.payload)).toMatchObject({
      sub: grant.session.id,
      tenant,
      robot: 'r1',
      embodiment: { id: embodiment, spec: armSpec },
      policy: { version_id: version },
      reasoning: { when: 'every_chunk' },
      epoch: 0,
      limits: { max_hz: 30 },
    });
    expect(first.payload).not.toHaveProperty('sampler');
    expect(new Date(grant.token_expires_at).getTime()).toBe((first.payload.exp ?? 0) * 1000);

    await addServeWorker(api.db.worker, 'serve-1');
    const resumed = await api.must('sessions.resume', key, { id: grant.session.id });
    const second = await jwtVerify(resumed.token, jwks, accept);
    expect(second.payload['epoch']).toBe(1);
    expect(second.payload.jti).not.toBe(first.payload.jti);

    // The only one that is ready is better than none.
    const { id } = grant.session;
    const goesOn = async (wishes: { worker?: string; avoid_url?: string }): Promise<string> =>
      (await api.must('sessions.resume', key, { id, ...wishes })).url;
    expect(await goesOn({ avoid_url: grant.url })).toBe(grant.url);
    await addServeWorker(api.db.worker, 'serve-2');
    expect(await goesOn({})).toBe(grant.url);
    const other = await goesOn({ avoid_url: grant.url });
    expect(other).toBe('ws://127.0.0.1:1/serve-2');
    expect(await goesOn({})).toBe(other);
    expect(await goesOn({ worker: 'serve-1' })).toBe(grant.url);
    expect(await goesOn({ worker: 'serve-1', avoid_url: grant.url })).toBe(other);
    await addServeWorker(api.db.worker, 'serve-2', other, 'draining');

    const ended = await api.must('sessions.end', key, { id: grant.session.id });
    expect(ended.ended_at).not.toBeNull();
    expect(await api.must('sessions.end', key, { id: grant.session.id })).toEqual(ended);
    expect(await api.call('sessions.resume', key, { id: grant.session.id })).toMatchObject({
      status: 409,
      problem: { code: 'conflict' },
    });
  });

  it('takes the sampler, the cadence and the rate that it is asked for', async () => {
    await addServeWorker(api.db.worker, 'serve-1');
    const grant = await api.must('sessions.create', key, {
      robot: 'r2',
      embodiment_id: embodiment,
      sampler: { steps: 4, noise_scale: 0 },
      reasoning: { when: 'interval', ms: 500 },
      max_hz: 12,
    });
    const jwks = createRemoteJWKSet(new URL('/.well-known/jwks.json', api.url));
    const { payload } = await jwtVerify(grant.token, jwks);
    expect(payload).toMatchObject({
      sampler: { steps: 4, noise_scale: 0 },
      reasoning: { when: 'interval', ms: 500 },
      limits: { max_hz: 12 },
    });
  });

  it('refuses a version of another embodiment', async () => {
    const other = await api.must('embodiments.create', key, { spec: armSpec });
    const version = await addPolicyVersion(api.db.worker, tenant, other.id);
    const answer = await api.call('sessions.create', key, {
      robot: 'r',
      embodiment_id: embodiment,
      policy_version_id: version,
    });
    expect(answer).toMatchObject({
      status: 422,
      problem: { code: 'embodiment_mismatch', field: 'policy_version_id' },
    });
  });
});

describe('usage and reasoning', () => {
  it('add up, by day, session and version, once however often they were written', async () => {
    const session = async () => {
      await addServeWorker(api.db.worker, 'serve-1');
      const input = { robot: 'r', embodiment_id: embodiment };
      return (await api.must('sessions.create', key, input)).session;
    };
    const [one, two] = [await session(), await session()];
    const yesterday = new Date(Date.now() - 86_400_000);
    await addUsage(api.db.worker, tenant, one.id, 5);
    await addUsage(api.db.worker, tenant, one.id, 5);
    await addUsage(api.db.worker, tenant, two.id, 3, yesterday);
    // Written twice as well, and charged for never.
    const earlier = new Date(Date.now() - 60_000);
    await addUnusedReasoning(api.db.worker, tenant, one.id, earlier);
    await addUnusedReasoning(api.db.worker, tenant, one.id, earlier);

    const all = await api.must('usage.get', key, {});
    expect(all.totals).toEqual({
      chunks: 8,
      actions: 128,
      reasoning_tokens: 35,
      compute_ms: 100,
      training_ms: 0,
      // 8 chunks, 35 tokens and 0.1 s of the sheet in prices.json.
      cost: '0.000155',
    });
    expect(all.items.map(({ key: day, chunks }) => [day, chunks])).toEqual([
      [yesterday.toISOString().slice(0, 10), 3],
      [new Date().toISOString().slice(0, 10), 5],
    ]);
    const bySession = await api.must('usage.get', key, { group_by: 'session' });
    expect(Object.fromEntries(bySession.items.map((row) => [row.key, row.actions]))).toEqual({
      [one.id]: 80,
      [two.id]: 48,
    });
    const byVersion = await api.must('usage.get', key, { group_by: 'policy_version' });
    expect(byVersion.items).toMatchObject([{ key: one.policy_version_id, chunks: 8 }]);
    const ofTwo = await api.must('usage.get', key, { session_id: two.id });
    expect(ofTwo.totals.chunks).toBe(3);
    const before = await api.must('usage.get', key, {
      to: new Date(Date.now() - 3_600_000).toISOString(),
    });
    expect(before.totals.chunks).toBe(3);
    expect(
      await api.call('usage.get', key, {
        from: '2026-01-02T00:00:00Z',
        to: '2026-01-01T00:00:00Z',
      }),
    ).toMatchObject({ status: 400, problem: { field: 'from' } });

    const reasoning = await api.must('reasoning.list', key, { session_id: one.id, limit: 2 });
    expect(reasoning.items.map(({ text, chunks, tokens }) => [text, chunks, tokens])).toEqual([
      ['thought 2', 1, 7],
      ['thought 1', 2, 7],
    ]);
    const rest = await api.must('reasoning.list', key, {
      session_id: one.id,
      cursor: reasoning.next_cursor ?? '',
    });
    expect(rest.items.map(({ text, chunks, tokens }) => [text, chunks, tokens])).toEqual([
      ['thought 0', 2, 7],
      ['thought in vain', 0, 9],
    ]);
    expect(rest.next_cursor).toBeNull();
  });
});
