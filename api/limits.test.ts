import { problemSchema, type RouteInput, type RouteName } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, requestFor, startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';
import { addPolicyVersion, addServeWorker, addUsage, markReady } from '../test/support/rows.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ requestBatch: 1 });
});
afterAll(async () => api.stop());

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
    const answer = await api.call(name, key, input);
    expect(answer).toMatchObject({
      status: 429,
      problem: { code: 'quota_exceeded', limit: quota },
    });
  };

  it('bound the bytes of all data sets and of the versions that are not retired', async () => {
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
  });

  it('say when to ask again', async () => {
    const { id, key, set } = await world();
    await limit(id, 'storage_bytes', 1);
    const answer = await fetch(...requestFor(api.url, 'datasets.create', key, set(2)));
    expect(answer.status).toBe(429);
    const problem = problemSchema.parse(await answer.json());
    expect(problem).toMatchObject({ limit: 'storage_bytes', retry_after_s: 3600 });
    expect(answer.headers.get('retry-after')).toBe('3600');
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
});
