import { createTRPCClient, httpBatchLink, TRPCClientError } from '@trpc/client';
import { problemSchema } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, startTestApi, type TestApi } from '../../test/support/api.ts';
import { breakObject } from '../../test/support/broken-object.ts';
import { armSpec } from '../../test/support/robots.ts';
import type { AppRouter } from './router.ts';

let api: TestApi;
let key: string;
let tenant: string;

beforeAll(async () => {
  api = await startTestApi();
  ({ id: tenant, key } = await api.tenant('by tRPC'));
});
afterAll(async () => api.stop());

const client = (apiKey?: string) =>
  createTRPCClient<AppRouter>({
    links: [
      httpBatchLink({
        url: `${api.url}/trpc`,
        headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      }),
    ],
  });

async function problemOf(call: Promise<unknown>) {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof TRPCClientError)) throw new Error('the call did not fail');
  const data = error.data as { problem: unknown; httpStatus: number; stack?: unknown };
  expect(data).not.toHaveProperty('stack');
  const problem = problemSchema.parse(data.problem);
  expect(problem.type).toBe(`${api.publicUrl}/errors/${problem.code}`);
  return { ...problem, http: data.httpStatus };
}

describe('tRPC', () => {
  it('answers what REST answers, queries and mutations', async () => {
    const trpc = client(key);
    const made = await trpc.embodiments.create.mutate({ spec: armSpec });
    expect(await trpc.embodiments.get.query({ id: made.id })).toEqual(
      await api.must('embodiments.get', key, { id: made.id }),
    );
    const [current, list] = await Promise.all([
      trpc.tenants.current.query({}),
      trpc.embodiments.list.query({ limit: 1 }),
    ]);
    expect(current.name).toBe('by tRPC');
    expect(list.items).toHaveLength(1);
  });

  it('refuses as REST refuses, each call of a batch by itself', async () => {
    const trpc = client(key);
    const [good, bad, none] = await Promise.allSettled([
      trpc.tenants.current.query({}),
      trpc.embodiments.get.query({ id: 'emb_none' }),
      trpc.embodiments.list.query({ limit: 0 }),
    ]);
    expect(good.status).toBe('fulfilled');
    expect(bad.status).toBe('rejected');
    expect(none.status).toBe('rejected');
    expect(await problemOf(trpc.embodiments.get.query({ id: 'emb_none' }))).toMatchObject({
      code: 'not_found',
      http: 404,
      field: 'id',
    });
    expect(await problemOf(trpc.embodiments.list.query({ limit: 0 }))).toMatchObject({
      code: 'invalid_request',
      field: 'limit',
    });
    expect(await problemOf(client().tenants.current.query({}))).toMatchObject({
      code: 'missing_key',
      http: 401,
    });
    const reader = await api.keyWith(key, ['read']);
    expect(
      await problemOf(client(reader.key).embodiments.create.mutate({ spec: armSpec })),
    ).toMatchObject({ code: 'forbidden', http: 403 });
  });

  it('says of a limit what REST says: which, and in the header when to come again', async () => {
    const { id, key: ours } = await api.tenant('full');
    const { id: embodiment } = await api.must('embodiments.create', ours, { spec: armSpec });
    const limit = { id, name: 'storage_bytes', value: 0 } as const;
    await api.must('tenants.limit', PLATFORM_KEY, limit);
    const files = [{ path: 'a', size: 1, sha256: '0'.repeat(64) }];
    const set = { name: 'd', embodiment_id: embodiment, files };
    for (const [path, body] of [
      ['datasets.create', set],
      ['datasets.create,embodiments.create?batch=1', { 0: set, 1: { spec: armSpec } }],
    ] as const) {
      const answer = await fetch(`${api.url}/trpc/${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${ours}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([
        path.includes('batch') ? 207 : 429,
        '3600',
      ]);
      expect(await answer.text()).toContain('"limit":"storage_bytes","retry_after_s":3600');
    }
    const fine = await fetch(`${api.url}/trpc/tenants.current`, {
      headers: { authorization: `Bearer ${ours}` },
    });
    expect([fine.status, fine.headers.get('retry-after')]).toEqual([200, null]);
  });

  it('says nothing of what went wrong inside', async () => {
    const trpc = client(key);
    const { id } = await trpc.embodiments.create.mutate({ spec: armSpec });
    const files = [{ path: 'a', size: 1, sha256: '0'.repeat(64) }];
    const set = { name: 'd', embodiment_id: id, files };
    const { dataset } = await trpc.datasets.create.mutate(set);
    const place = `tenants/${tenant}/datasets/${dataset.id}/files/a`;
    const inside = await breakObject(api.storeRoot, place);
    const problem = await problemOf(trpc.datasets.complete.mutate({ id: dataset.id }));
    expect(problem).toMatchObject({ code: 'internal', http: 500 });
    expect(JSON.stringify(problem)).not.toMatch(/ELOOP|objects/);
    expect((await api.log()).join('\n')).toContain(inside);
  });

  it.each([
    ['21 calls', () => Array.from({ length: 21 }, () => 'tenants.current').join(',')],
    ['21 commas', () => ','.repeat(21)],
  ])('refuses a batch of %s', async (_, paths) => {
    const before = (await api.log()).length;
    const answer = await fetch(`${api.url}/trpc/${paths()}?batch=1&input={}`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('invalid_request');
    const since = (await api.log()).slice(before);
    expect(since.filter((line) => line.includes('"verb"'))).toEqual([]);
  });

  it.each([
    ['/trpc/nothing.here', {}, 404],
    ['/trpc/tenants.current?input={bad', {}, 400],
    ['/trpc/embodiments.create', { method: 'POST', body: '{bad' }, 400],
    ['/trpc/embodiments.create', {}, 400],
  ])('answers %s with a problem', async (at, request: RequestInit, status) => {
    const answer = await fetch(api.url + at, {
      ...request,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    });
    const text = await answer.text();
    expect([answer.status, text]).toEqual([status, expect.stringContaining('request_id')]);
    expect(text).not.toMatch(/\\n +at /);
  });
});
