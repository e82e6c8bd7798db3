import {
  problemSchema,
  type KeyLimitName,
  type KeyLimits,
  type RouteInput,
  type RouteName,
} from '@armature/sdk/contract';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, requestFor, startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';
import { addPolicyVersion, addServeWorker, addUsage, markReady } from '../test/support/rows.ts';

let api: TestApi;
let sql: Sql;
beforeAll(async () => {
  api = await startTestApi({ requestBatch: 1 });
  sql = postgres(api.db.adminUrl, { max: 1 });
});
afterAll(async () => {
  await sql.end();
  await api.stop();
});

/** As the sweep does, long after a version was retired. */
const expire = (version: string) =>
  sql`update policy_versions set expired_at = now() where id = ${version}`;
/** As if a session's robot had got its last token that much earlier. */
const idleFor = (session: string, minutes: number) =>
  sql`update sessions set granted_at = granted_at - ${minutes} * interval '1 minute' where id = ${session}`;

const limit = (id: string, name: RouteInput<'tenants.limit'>['name'], value: number | null) =>
  api.must('tenants.limit', PLATFORM_KEY, { id, name, value });

describe('the rate of requests', () => {
  it('is the tenant’s, of which one key has half, and comes back with time', async () => {
    const { id, key } = await api.tenant();
    const other = await api.keyWith(key, ['read']);
    await limit(id, 'requests_burst', 40);
    await limit(id, 'requests_per_s', 0.001);
    const ask = async (apiKey: string) =>
      fetch(...requestFor(api.url, 'tenants.current', apiKey, {}));
    const statuses: number[] = [];
    for (let i = 0; i < 25; i += 1) statuses.push((await ask(other.key)).status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(20);
    const refused = await ask(other.key);
    expect(refused.status).toBe(429);
    const problem = problemSchema.parse(await refused.json());
    expect(problem).toMatchObject({ code: 'rate_limited', limit: 'requests_per_key' });
    expect(problem.retry_after_s).toBeGreaterThan(0);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    // The other key still has its half.
    expect((await ask(key)).status).toBe(200);
    await limit(id, 'requests_per_s', 1000);
    await expect.poll(async () => (await ask(other.key)).status, { timeout: 20_000 }).toBe(200);
  });

  it('is used up for every key where it is for the tenant, and named as it is set', async () => {
    const { id, key } = await api.tenant();
    const first = await api.keyWith(key, ['read']);
    const second = await api.keyWith(key, ['read']);
    const third = await api.keyWith(key, ['read']);
    await limit(id, 'requests_burst', 20);
    await limit(id, 'requests_per_s', 0.001);
    for (const half of [first.key, second.key]) {
      for (let i = 0; i < 10; i += 1) await api.call('tenants.current', half, {});
    }
    const refused = await fetch(...requestFor(api.url, 'tenants.current', third.key, {}));
    expect(refused.status).toBe(429);
    const problem = problemSchema.parse(await refused.json());
    expect(problem).toMatchObject({ code: 'rate_limited', limit: 'requests_per_s' });
    expect(Number(refused.headers.get('retry-after'))).toBe(Math.ceil(problem.retry_after_s ?? 0));
  });

  it('is one over all processes', async () => {
    const { id, key } = await api.tenant();
    await limit(id, 'requests_burst', 20);
    await limit(id, 'requests_per_s', 0.001);
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => api.call('tenants.current', key, {})),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
  });
});

/** Seconds after which it is worth asking again. */
const MONTH = 31 * 24 * 3600;
const waits: Record<string, number> = {
  storage_bytes: 3600,
  concurrent_jobs: 60,
  concurrent_robots: 60,
  webhooks: 3600,
};

describe('quotas', () => {
  const world = async () => {
    const { id, key } = await api.tenant();
    const embodiment = await api.must('embodiments.create', key, { spec: armSpec });
    const set = (bytes: number) => ({
      name: 'd',
      embodiment_id: embodiment.id,
      files: [fileOf('a', Buffer.alloc(bytes))],
    });
    return { id, key, embodiment: embodiment.id, set };
  };
  const refused = async <N extends RouteName>(
    name: N,
    key: string,
    input: RouteInput<N>,
    quota: string,
  ) => {
    const answer = await fetch(...requestFor(api.url, name, key, input));
    expect(answer.status).toBe(429);
    const problem = problemSchema.parse(await answer.json());
    expect(problem).toMatchObject({ code: 'quota_exceeded', limit: quota });
    const wait = Number(answer.headers.get('retry-after'));
    expect(wait).toBe(problem.retry_after_s);
    // What is of a month, in the next.
    if (quota in waits) return expect(wait).toBe(waits[quota]);
    expect(wait).toBeGreaterThan(0);
    return expect(wait).toBeLessThanOrEqual(MONTH);
  };

  it('bound the bytes of all data sets and of the versions whose files are there', async () => {
    const { id, key, embodiment, set } = await world();
    await limit(id, 'storage_bytes', 100);
    const { dataset } = await api.must('datasets.create', key, set(60));
    await refused('datasets.create', key, set(41), 'storage_bytes');
    await api.must('datasets.create', key, set(40));
    // Of a thousand bytes.
    const version = await addPolicyVersion(api.db.worker, id, embodiment);
    await limit(id, 'storage_bytes', 1100);
    await refused('datasets.create', key, set(1), 'storage_bytes');
    await api.must('datasets.delete', key, { id: dataset.id });
    await api.must('datasets.create', key, set(60));
    await refused('datasets.create', key, set(1), 'storage_bytes');
    await api.must('policies.retire', key, { id: version });
    await refused('datasets.create', key, set(1), 'storage_bytes');
    await expire(version);
    await api.must('datasets.create', key, set(1000));
    await refused('datasets.create', key, set(1), 'storage_bytes');
  });

  it('bound the fine-tunes that wait or run', async () => {
    const { id, key, set } = await world();
    const { dataset } = await api.must('datasets.create', key, set(1));
    await markReady(api.db.worker, id, dataset.id);
    await limit(id, 'concurrent_jobs', 1);
    const input = { name: 'f', dataset_id: dataset.id, options: {} };
    const first = await api.must('finetunes.create', key, input);
    await refused('finetunes.create', key, input, 'concurrent_jobs');
    await api.must('finetunes.cancel', key, { id: first.id });
    await api.must('finetunes.create', key, input);
  });

  it('hold for calls that come at once', async () => {
    const { id, key, embodiment, set } = await world();
    const policy = await addPolicyVersion(api.db.worker, id, embodiment);
    await addServeWorker(api.db.worker);
    await limit(id, 'storage_bytes', 1100);
    await limit(id, 'concurrent_robots', 3);
    const statuses = async (asked: Promise<{ status: number }>[]): Promise<number[]> =>
      (await Promise.all(asked)).map(({ status }) => status).sort((a, b) => a - b);
    const several = Array.from({ length: 8 });
    const sets = several.map(() => api.call('datasets.create', key, set(30)));
    expect(await statuses(sets)).toEqual([200, 200, 200, 429, 429, 429, 429, 429]);
    const input = { robot: 'r', embodiment_id: embodiment, policy_version_id: policy };
    const robots = several.map(() => api.call('sessions.create', key, input));
    expect(await statuses(robots)).toEqual([200, 200, 200, 429, 429, 429, 429, 429]);

    const { items } = await api.must('datasets.list', key, {});
    const [dataset] = items;
    if (dataset === undefined) expect.fail('no set');
    await markReady(api.db.worker, id, dataset.id);
    await limit(id, 'concurrent_jobs', 3);
    await limit(id, 'webhooks', 3);
    const job = { name: 'f', dataset_id: dataset.id, options: {} };
    const jobs = several.map(() => api.call('finetunes.create', key, job));
    expect(await statuses(jobs)).toEqual([200, 200, 200, 429, 429, 429, 429, 429]);
    const hook: RouteInput<'webhooks.create'> = {
      url: 'https://example.com/hook',
      events: ['dataset.ready'],
    };
    const hooks = several.map(() => api.call('webhooks.create', key, hook));
    expect(await statuses(hooks)).toEqual([200, 200, 200, 429, 429, 429, 429, 429]);
  });

  it('bound the webhooks', async () => {
    const { id, key } = await world();
    await limit(id, 'webhooks', 1);
    const input: RouteInput<'webhooks.create'> = {
      url: 'https://example.com/hook',
      events: ['dataset.ready'],
    };
    const { webhook } = await api.must('webhooks.create', key, input);
    await refused('webhooks.create', key, input, 'webhooks');
    await api.must('webhooks.delete', key, { id: webhook.id });
    await api.must('webhooks.create', key, input);
  });

  it('bound the robots, and the computation of a month', async () => {
    const { id, key, embodiment } = await world();
    const policy = await addPolicyVersion(api.db.worker, id, embodiment);
    await addServeWorker(api.db.worker);
    await limit(id, 'concurrent_robots', 2);
    const input = { robot: 'r', embodiment_id: embodiment, policy_version_id: policy };
    const { session } = await api.must('sessions.create', key, input);
    await api.must('sessions.create', key, input);
    await refused('sessions.create', key, input, 'concurrent_robots');
    await api.must('sessions.end', key, { id: session.id });
    await api.must('sessions.create', key, input);
    await limit(id, 'concurrent_robots', null);
    await addUsage(api.db.worker, id, session.id, 8);
    await limit(id, 'compute_s_per_month', 0.05);
    await refused('sessions.create', key, input, 'compute_s_per_month');
  });

  it('bound the robots that come back as those that come', async () => {
    const { id, key, embodiment } = await world();
    const policy = await addPolicyVersion(api.db.worker, id, embodiment);
    await addServeWorker(api.db.worker);
    await limit(id, 'concurrent_robots', 2);
    const input = { robot: 'r', embodiment_id: embodiment, policy_version_id: policy };
    const create = async () => (await api.must('sessions.create', key, input)).session.id;
    const [first, second] = [await create(), await create()];
    await idleFor(first, 11);
    await idleFor(second, 11);
    const [third, fourth] = [await create(), await create()];
    await refused('sessions.resume', key, { id: first }, 'concurrent_robots');
    // Whoever counts renews its token as often as it likes, and keeps its place while it is served.
    await api.must('sessions.resume', key, { id: third });
    await addUsage(api.db.worker, id, third, 1);
    await idleFor(third, 11);
    await api.must('sessions.resume', key, { id: third });
    await refused('sessions.create', key, input, 'concurrent_robots');
    await api.must('sessions.end', key, { id: fourth });
    // One of them, however many come at once; it may come again.
    const answers = await Promise.all(
      [first, second, first, second].map((id) => api.call('sessions.resume', key, { id })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 429, 429]);
    await refused('sessions.create', key, input, 'concurrent_robots');
  });

  it('count the computation of closed windows once, and give no robot another token', async () => {
    const { id, key, embodiment } = await world();
    const policy = await addPolicyVersion(api.db.worker, id, embodiment);
    await addServeWorker(api.db.worker);
    const input = { robot: 'r', embodiment_id: embodiment, policy_version_id: policy };
    const { session } = await api.must('sessions.create', key, input);
    // Eight chunks of 12.5 ms in this quarter of an hour, which is closed twice as late.
    await addUsage(api.db.worker, id, session.id, 8);
    await limit(id, 'compute_s_per_month', 0.1);
    await api.must('sessions.resume', key, { id: session.id });
    api.clock.skewMs = 45 * 60_000;
    const { items } = await api.must('usage.lines', key, {});
    api.clock.skewMs = 0;
    expect(items).toMatchObject([{ session_id: session.id, chunks: 8 }]);
    await api.must('sessions.resume', key, { id: session.id });
    await limit(id, 'compute_s_per_month', 0.099);
    await refused('sessions.resume', key, { id: session.id }, 'compute_s_per_month');
  });
});

describe('quotas of a key', () => {
  const world = async (limits: KeyLimits) => {
    const { id, key } = await api.tenant();
    const { id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec });
    const made = await api.must('keys.create', key, { name: 'fleet', scopes: ['admin'], limits });
    expect(made.key.limits).toEqual(limits);
    const set = (bytes: number) => ({
      name: 'd',
      embodiment_id: embodiment,
      files: [fileOf('a', Buffer.alloc(bytes))],
    });
    return { id, admin: key, key: made.secret, keyId: made.key.id, embodiment, set };
  };
  const refused = async <N extends RouteName>(
    name: N,
    key: string,
    input: RouteInput<N>,
    quota: KeyLimitName,
  ) => {
    const answer = await api.call(name, key, input);
    expect(answer).toMatchObject({
      status: 429,
      problem: { code: 'quota_exceeded', limit: `${quota}_per_key` },
    });
    expect(answer.problem?.retry_after_s).toBeGreaterThan(0);
  };

  it('bound what it made: bytes, whoever else has room', async () => {
    const { id, admin, key, set } = await world({ storage_bytes: 100 });
    await api.must('datasets.create', admin, set(500));
    const { dataset } = await api.must('datasets.create', key, set(60));
    await refused('datasets.create', key, set(41), 'storage_bytes');
    await api.must('datasets.create', key, set(40));
    await api.must('datasets.create', admin, set(500));
    await api.must('datasets.delete', key, { id: dataset.id });
    await api.must('datasets.create', key, set(60));
    // The tenant's own holds for it as for the others.
    await limit(id, 'storage_bytes', 1);
    const answer = await api.call('datasets.create', key, set(1));
    expect(answer.problem).toMatchObject({ limit: 'storage_bytes' });
  });

  it('bound its robots, and their computation', async () => {
    const { id, admin, key, keyId, embodiment } = await world({ concurrent_robots: 1 });
    const policy = await addPolicyVersion(api.db.worker, id, embodiment);
    await addServeWorker(api.db.worker);
    const input = { robot: 'r', embodiment_id: embodiment, policy_version_id: policy };
    const others = await api.must('sessions.create', admin, input);
    const { session } = await api.must('sessions.create', key, input);
    await refused('sessions.create', key, input, 'concurrent_robots');
    await idleFor(session.id, 11);
    const next = await api.must('sessions.create', key, input);
    await refused('sessions.resume', admin, { id: session.id }, 'concurrent_robots');
    await api.must('sessions.end', key, { id: next.session.id });
    await api.must('sessions.resume', key, { id: session.id });
    const shown = await api.must('keys.limit', admin, {
      id: keyId,
      name: 'concurrent_robots',
      value: null,
    });
    expect(shown.limits).toEqual({});
    await api.must('sessions.create', key, input);
    await api.must('keys.limit', admin, { id: keyId, name: 'compute_s_per_month', value: 0.05 });
    await addUsage(api.db.worker, id, others.session.id, 8);
    await api.must('sessions.create', key, input);
    await addUsage(api.db.worker, id, session.id, 8);
    await refused('sessions.create', key, input, 'compute_s_per_month');
    // Whoever asks for a token of the key's session.
    await refused('sessions.resume', admin, { id: session.id }, 'compute_s_per_month');
    await api.must('sessions.create', admin, input);
    await api.must('sessions.resume', key, { id: others.session.id });
  });

  it('bound the fine-tunes that it began, whose versions count as its bytes', async () => {
    const { id, admin, key, keyId, embodiment, set } = await world({ concurrent_jobs: 1 });
    const { dataset } = await api.must('datasets.create', key, set(1));
    await markReady(api.db.worker, id, dataset.id);
    const input = { name: 'f', dataset_id: dataset.id, options: {} };
    await api.must('finetunes.create', admin, input);
    const first = await api.must('finetunes.create', key, input);
    await refused('finetunes.create', key, input, 'concurrent_jobs');
    const draft = await api.must('finetunes.create', key, { ...input, start: false });
    await refused('finetunes.start', key, { id: draft.id }, 'concurrent_jobs');
    await api.must('finetunes.pause', key, { id: first.id });
    await api.must('finetunes.cancel', key, { id: first.id });
    // One that another began counts for who goes on with it.
    const theirs = await api.must('finetunes.create', admin, input);
    await api.must('finetunes.pause', admin, { id: theirs.id });
    await api.must('finetunes.resume', key, { id: theirs.id });
    await refused('finetunes.start', key, { id: draft.id }, 'concurrent_jobs');
    await api.must('finetunes.start', admin, { id: draft.id });
    const made = { finetune: theirs.id };
    const version = await addPolicyVersion(api.db.worker, id, embodiment, made);
    await api.must('keys.limit', admin, { id: keyId, name: 'storage_bytes', value: 1001 });
    await refused('datasets.create', key, set(1), 'storage_bytes');
    await api.must('policies.retire', admin, { id: version });
    await refused('datasets.create', key, set(1), 'storage_bytes');
    await expire(version);
    await api.must('datasets.create', key, set(1));
  });

  it('are those of the keys that it is rotated to, together', async () => {
    const { admin, key, keyId, set } = await world({ storage_bytes: 100 });
    await api.must('datasets.create', key, set(60));
    const rotated = await api.must('keys.rotate', admin, { id: keyId, overlap_s: 60 });
    expect(rotated.key.limits).toEqual({ storage_bytes: 100 });
    await refused('datasets.create', rotated.secret, set(41), 'storage_bytes');
    await api.must('datasets.create', rotated.secret, set(30));
    await refused('datasets.create', key, set(11), 'storage_bytes');
    const raise = { id: rotated.key.id, name: 'storage_bytes', value: 101 } as const;
    await api.must('keys.limit', admin, raise);
    await api.must('datasets.create', key, set(11));
    const { items } = await api.must('keys.list', admin, {});
    expect(items.map(({ limits }) => limits)).toEqual([
      { storage_bytes: 101 },
      { storage_bytes: 101 },
      {},
    ]);
    const log = await api.must('audit.list', admin, { subject: rotated.key.id });
    expect(log.items[0]).toMatchObject({
      verb: 'keys.limit',
      detail: { name: 'storage_bytes', value: 101 },
    });
  });

  it('hold for calls that come at once', async () => {
    const { key, set } = await world({ storage_bytes: 100 });
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => api.call('datasets.create', key, set(30))),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
  });
});
