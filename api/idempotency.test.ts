import postgres from 'postgres';
import type { RouteInput, RouteName } from '@armature/sdk/contract';
import { problemSchema } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, requestFor, startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';

let api: TestApi;
let tenant: string;
let key: string;
let embodiment: string;
let admin: postgres.Sql;

beforeAll(async () => {
  api = await startTestApi();
  ({ id: tenant, key } = await api.tenant());
  ({ id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec }));
  admin = postgres(api.db.adminUrl, { max: 1 });
});
afterAll(async () => {
  await admin.end();
  await api.stop();
});

async function send<N extends RouteName>(
  name: N,
  input: RouteInput<N>,
  idempotencyKey: string,
  apiKey = key,
) {
  const [url, request] = requestFor(api.url, name, apiKey, input);
  const headers = { ...(request.headers as object), 'idempotency-key': idempotencyKey };
  const answer = await fetch(url, { ...request, headers });
  const body: unknown = await answer.json();
  return { status: answer.status, body, retryAfter: answer.headers.get('retry-after') };
}
const problemOf = ({ body }: { body: unknown }) => problemSchema.parse(body);
const keys = () => api.must('keys.list', key, { limit: 200 });

describe('an idempotency key', () => {
  it('gives every repeat the first answer, secrets too, and does nothing again', async () => {
    const before = (await keys()).items.length;
    const input = { name: 'once', scopes: ['read' as const] };
    const first = await send('keys.create', input, 'make-a-key-1');
    expect(first.status).toBe(200);
    for (let i = 0; i < 3; i += 1) {
      expect(await send('keys.create', input, 'make-a-key-1')).toEqual(first);
    }
    expect((await keys()).items).toHaveLength(before + 1);
    const { secret } = first.body as { secret: string };
    expect((await api.call('tenants.current', secret, {})).status).toBe(200);
    const stored = await admin`select * from idempotency_keys where tenant_id = ${tenant}`;
    const text = JSON.stringify(stored) + stored.map((row) => String(row['answer'])).join();
    expect(text).not.toContain(secret);
    expect(text).not.toContain('make-a-key-1');
  });

  it('refuses another input, whatever the order of its fields', async () => {
    const file = fileOf('a', Buffer.from('a'));
    const input = { name: 'd', embodiment_id: embodiment, files: [file] };
    const first = await send('datasets.create', input, 'upload-number-1');
    const { sha256, size, path } = file;
    const same = { files: [{ size, path, sha256 }], embodiment_id: embodiment, name: 'd' };
    expect(await send('datasets.create', same, 'upload-number-1')).toEqual(first);
    const other = await send('datasets.create', { ...input, name: 'e' }, 'upload-number-1');
    expect(other.status).toBe(422);
    expect(problemOf(other)).toMatchObject({
      code: 'idempotency_mismatch',
      field: 'idempotency-key',
    });
  });

  it('lets one of many twins through and tells the others to come again', async () => {
    const input = { name: 'twins', scopes: ['read' as const] };
    const before = (await keys()).items.length;
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => send('keys.create', input, 'all-at-once-1')),
    );
    const done = answers.filter(({ status }) => status === 200);
    const told = answers.filter(({ status }) => status !== 200);
    expect(new Set(done.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    for (const answer of told) {
      expect(problemOf(answer)).toMatchObject({ status: 409, code: 'conflict', retry_after_s: 1 });
      expect(answer.retryAfter).toBe('1');
    }
    expect((await keys()).items).toHaveLength(before + 1);
  });

  it('is free again after a request that was refused', async () => {
    const missing = await send('policies.deploy', { id: 'pv_none' }, 'deploy-it-now');
    expect(missing.status).toBe(404);
    expect((await send('policies.deploy', { id: 'pv_none' }, 'deploy-it-now')).status).toBe(404);
    const rows = await admin`select * from idempotency_keys where verb = 'policies.deploy'`;
    expect(rows).toHaveLength(0);
  });

  it('belongs to one tenant and one verb', async () => {
    const other = await api.tenant('other');
    const input = { name: 'mine', scopes: ['read' as const] };
    const first = await send('keys.create', input, 'the-same-key-1');
    const second = await send('keys.create', input, 'the-same-key-1', other.key);
    expect(second.status).toBe(200);
    expect(second.body).not.toEqual(first.body);
    const elsewhere = await send('embodiments.create', { spec: armSpec }, 'the-same-key-1');
    expect(elsewhere.status).toBe(200);
  });

  it('whose process died before it wrote anything is taken over; after, it is told', async () => {
    const input = { name: 'dead', scopes: ['read' as const] };
    await send('keys.create', input, 'died-underway-1');
    const set = (state: string) =>
      admin`update idempotency_keys set state = ${state}, answer = null where tenant_id = ${tenant}
        and claimed_at = (select max(claimed_at) from idempotency_keys)`;
    await set('running');
    expect((await send('keys.create', input, 'died-underway-1')).status).toBe(409);
    const age = () => admin`update idempotency_keys set claimed_at = now() - interval '2 minutes'`;
    await admin`delete from idempotency_keys where state <> 'running'`;
    await age();
    expect((await send('keys.create', input, 'died-underway-1')).status).toBe(200);
    await set('applied');
    expect((await send('keys.create', input, 'died-underway-1')).status).toBe(409);
    await age();
    const lost = await send('keys.create', input, 'died-underway-1');
    expect(problemOf(lost).detail).toMatch(/its answer was lost/);
  });

  it('must be one', async () => {
    const input = { name: 'k', scopes: ['read' as const] };
    expect(problemOf(await send('keys.create', input, 'short'))).toMatchObject({
      status: 400,
      field: 'idempotency-key',
    });
  });

  it('of the operator’s makes one tenant, and is no tenant’s', async () => {
    const input = { name: 'once' };
    const twins = await Promise.all(
      Array.from({ length: 5 }, () =>
        send('tenants.create', input, 'a-tenant-please', PLATFORM_KEY),
      ),
    );
    const done = twins.filter(({ status }) => status === 200);
    for (const told of twins.filter(({ status }) => status !== 200)) {
      expect(problemOf(told)).toMatchObject({ status: 409, code: 'conflict' });
    }
    const again = await send('tenants.create', input, 'a-tenant-please', PLATFORM_KEY);
    expect(new Set([...done, again].map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(await admin`select id from tenants where name = 'once'`).toHaveLength(1);
    const other = await send('tenants.create', { name: 'twice' }, 'a-tenant-please', PLATFORM_KEY);
    expect(problemOf(other)).toMatchObject({ status: 422, code: 'idempotency_mismatch' });
    const stored = await admin`select * from operator_keys`;
    const { secret } = again.body as { secret: string };
    expect(stored).toHaveLength(1);
    expect(stored.map((row) => String(row['answer'])).join()).not.toContain(secret);
    // A tenant that does not exist is told as without a key, and the key is free again.
    const limit = { id: 'ten_none', name: 'webhooks' as const, value: 1 };
    for (let i = 0; i < 2; i += 1) {
      const absent = await send('tenants.limit', limit, 'limit-nobody', PLATFORM_KEY);
      expect(absent.status).toBe(404);
    }
  });
});
