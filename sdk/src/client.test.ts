import { afterEach, describe, expect, expectTypeOf, it } from 'vitest';
import {
  ArmatureError,
  routes,
  type Dataset,
  type RouteName,
  type SessionGrant,
  type Tenant,
  toRequest,
} from '../contract/index.ts';
import { Armature } from './client.ts';
import { FakeApi, type Handlers } from './testing/fake-api.ts';
import { armSpec, dataset, embodiment } from './testing/resources.ts';

const apis: FakeApi[] = [];
afterEach(async () => {
  for (const api of apis.splice(0)) await api.stop();
});

async function start(handlers: Handlers): Promise<{ api: FakeApi; client: Armature }> {
  const api = await FakeApi.start(handlers);
  apis.push(api);
  const retry = { baseMs: 1, maxMs: 5, attempts: 3 };
  return { api, client: new Armature({ apiUrl: `${api.url}/`, apiKey: 'arm_1_key', retry }) };
}

async function refusal(promise: Promise<unknown>): Promise<ArmatureError> {
  const error: unknown = await promise.then(
    () => new Error('was not refused'),
    (reason: unknown) => reason,
  );
  if (error instanceof ArmatureError) return error;
  throw error;
}

describe('the client', () => {
  it('has a method for every verb of the contract', () => {
    const client = new Armature({ apiUrl: 'http://localhost', apiKey: 'k' });
    const groups = client as unknown as Record<string, Record<string, unknown>>;
    for (const name of Object.keys(routes) as RouteName[]) {
      const [group, verb] = name.split('.') as [string, string];
      expect(groups[group]?.[verb], name).toBeTypeOf('function');
    }
  });

  it('puts every verb where the contract says, with path, query and body', async () => {
    const { api, client } = await start({
      'embodiments.create': () => embodiment,
      'embodiments.get': () => embodiment,
      'datasets.list': () => ({ items: [dataset()], next_cursor: null }),
    });
    expect(await client.embodiments.create({ spec: armSpec })).toEqual(embodiment);
    await client.embodiments.get({ id: 'emb/1?' });
    await client.datasets.list({ limit: 7 });
    expect(api.calls).toMatchObject([
      { name: 'embodiments.create', input: { spec: armSpec }, authorization: 'Bearer arm_1_key' },
      { name: 'embodiments.get', input: { id: 'emb/1?' }, authorization: 'Bearer arm_1_key' },
      { name: 'datasets.list', input: { limit: 7 }, authorization: 'Bearer arm_1_key' },
    ]);
    expect(() => toRequest('GET', '/v1/datasets/:id', { id: '' })).toThrow(/id is empty/);
  });

  it('types follow from the table of routes', () => {
    const client = new Armature({ apiUrl: 'http://localhost', apiKey: 'k' });
    expectTypeOf(client.tenants.current).returns.resolves.toEqualTypeOf<Tenant>();
    expectTypeOf(client.sessions.resume).returns.resolves.toEqualTypeOf<SessionGrant>();
    expectTypeOf(client.datasets.list)
      .parameter(0)
      .toEqualTypeOf<{ limit?: number | undefined; cursor?: string | undefined } | undefined>();
    expectTypeOf(client.datasets.listAll).returns.toEqualTypeOf<
      AsyncGenerator<Dataset, void, undefined>
    >();
    expectTypeOf(client.embodiments.create).parameter(0).toHaveProperty('spec');
    // @ts-expect-error an id is needed
    expectTypeOf(client.datasets.get).toBeCallableWith();
    expectTypeOf(client.tenants).not.toHaveProperty('currentAll');
  });

  it('iterates over all pages', async () => {
    const pages: Record<string, unknown> = {
      first: { items: [dataset({ id: 'ds_1' }), dataset({ id: 'ds_2' })], next_cursor: 'b' },
      b: { items: [], next_cursor: 'c' },
      c: { items: [dataset({ id: 'ds_3' })], next_cursor: null },
    };
    const { api, client } = await start({
      'datasets.list': ({ cursor }) => pages[typeof cursor === 'string' ? cursor : 'first'],
    });
    const ids: string[] = [];
    for await (const { id } of client.datasets.listAll({ limit: 2 })) ids.push(id);
    expect(ids).toEqual(['ds_1', 'ds_2', 'ds_3']);
    expect(api.calls.map(({ input }) => input)).toEqual([
      { limit: 2 },
      { limit: 2, cursor: 'b' },
      { limit: 2, cursor: 'c' },
    ]);
  });
});

describe('errors', () => {
  it('refuses wrong input before anything is sent', async () => {
    const { api, client } = await start({});
    const spec = { ...armSpec, horizon: 7 };
    const error = await refusal(client.embodiments.create({ spec }));
    expect([error.code, error.field]).toEqual(['invalid_request', 'spec.horizon']);
    const extra = { limit: 3, colour: 'red' };
    expect((await refusal(client.datasets.list(extra))).code).toBe('invalid_request');
    expect(() => new Armature({ apiUrl: 'localhost:1', apiKey: 'k' })).toThrow(ArmatureError);
    expect(() => new Armature({ apiUrl: 'http://x', apiKey: '' })).toThrow(/no key/);
    expect(api.calls).toEqual([]);
  });

  it('passes on problem details whole', async () => {
    const { client } = await start({
      'datasets.get': () => {
        throw new ArmatureError('not_found', 'there is no data set ds_9', {
          field: 'id',
          fix: 'List the data sets.',
        });
      },
    });
    expect(await refusal(client.datasets.get({ id: 'ds_9' }))).toMatchObject({
      code: 'not_found',
      message: 'there is no data set ds_9',
      field: 'id',
      fix: 'List the data sets.',
      requestId: 'req_1',
    });
  });

  it('names the field of an answer that does not fit the contract', async () => {
    const { client } = await start({
      'datasets.get': () => ({ ...dataset(), status: 'lost', later_field: 1 }),
    });
    const error = await refusal(client.datasets.get({ id: 'ds_1' }));
    expect([error.code, error.field]).toEqual(['internal', 'status']);
  });

  it('gives a typed error for an answer of something else', async () => {
    const html = new Response('<html>gateway</html>', { status: 502 });
    const client = new Armature({
      apiUrl: 'http://localhost',
      apiKey: 'k',
      fetch: async () => html.clone(),
      retry: { attempts: 1 },
    });
    const error = await refusal(client.tenants.current());
    expect([error.code, error.retryable]).toEqual(['internal', true]);
    expect(error.message).toContain('502');
  });

  it('says which address cannot be reached', async () => {
    const client = new Armature({
      apiUrl: 'http://127.0.0.1:9',
      apiKey: 'k',
      retry: { attempts: 2, baseMs: 1 },
    });
    const error = await refusal(client.tenants.current());
    expect([error.code, error.field]).toEqual(['unavailable', 'apiUrl']);
    expect(error.message).toContain('http://127.0.0.1:9');
  });
});

describe('repeats', () => {
  const failing = (times: number, error: ArmatureError, answer: unknown) => {
    let n = 0;
    return () => {
      if (n++ < times) throw error;
      return answer;
    };
  };

  it('a verb that changes nothing is repeated after an error that may pass', async () => {
    const { api, client } = await start({
      'datasets.get': failing(2, new ArmatureError('internal', 'oops'), dataset()),
      'datasets.complete': failing(1, new ArmatureError('timeout', 'slow'), dataset()),
    });
    expect((await client.datasets.get({ id: 'ds_1' })).id).toBe('ds_1');
    expect((await client.datasets.complete({ id: 'ds_1' })).id).toBe('ds_1');
    expect(api.names()).toEqual([
      ...new Array<string>(3).fill('datasets.get'),
      ...new Array<string>(2).fill('datasets.complete'),
    ]);
  });

  it('gives up after its attempts', async () => {
    const { api, client } = await start({
      'datasets.get': failing(9, new ArmatureError('internal', 'oops'), dataset()),
    });
    expect((await refusal(client.datasets.get({ id: 'ds_1' }))).code).toBe('internal');
    expect(api.calls).toHaveLength(3);
  });

  it('a mutation carries one id over its attempts, and another call has another', async () => {
    const lost = failing(2, new ArmatureError('internal', 'oops'), embodiment);
    const { api, client } = await start({
      'embodiments.create': lost,
      'embodiments.get': () => embodiment,
    });
    expect(await client.embodiments.create({ spec: armSpec })).toEqual(embodiment);
    await client.embodiments.create({ spec: armSpec });
    await client.embodiments.create({ spec: armSpec }, { idempotencyKey: 'from-my-own-job' });
    await client.embodiments.get({ id: embodiment.id });
    const ids = api.calls.map(({ idempotencyKey }) => idempotencyKey);
    expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(ids.slice(1, 3)).toEqual([ids[0], ids[0]]);
    expect(ids[3]).not.toBe(ids[0]);
    expect(ids.slice(4)).toEqual(['from-my-own-job', undefined]);
  });

  it('a connection that breaks off is tried again, with the same id', async () => {
    let broken = 0;
    const { api, client } = await start({ 'embodiments.create': () => embodiment });
    const ids = new Set<unknown>();
    api.extra = async (request) => {
      ids.add(request.headers['idempotency-key']);
      if (broken++ < 2) request.socket.destroy();
      return broken <= 2;
    };
    expect(await client.embodiments.create({ spec: armSpec })).toEqual(embodiment);
    expect(ids.size).toBe(1);
  });

  it('the operator’s verbs carry an id too', async () => {
    const { api, client } = await start({
      'tenants.limit': failing(2, new ArmatureError('internal', 'oops'), {
        name: 'webhooks',
        value: 3,
      }),
    });
    await client.tenants.limit({ id: 'ten_1', name: 'webhooks', value: 3 });
    const ids = api.calls.map(({ idempotencyKey }) => idempotencyKey);
    expect(ids).toHaveLength(3);
    expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(new Set(ids).size).toBe(1);
  });

  it('comes again when a rate limit says, however often, within its patience', async () => {
    const times: number[] = [];
    const busy = new ArmatureError('rate_limited', 'too many', { retryAfterS: 0.05 });
    const answer = failing(6, busy, dataset());
    const { client } = await start({
      'datasets.get': () => {
        times.push(performance.now());
        return answer();
      },
    });
    expect((await client.datasets.get({ id: 'ds_1' })).id).toBe('ds_1');
    expect(times).toHaveLength(7);
    // No attempt comes before the time that it was told.
    const gaps = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(49);
  });

  it('gives up at once where the limit asks for more patience than it has', async () => {
    const busy = new ArmatureError('rate_limited', 'too many', { retryAfterS: 3600 });
    const { api, client } = await start({ 'datasets.get': failing(9, busy, dataset()) });
    const error = await refusal(client.datasets.get({ id: 'ds_1' }));
    expect([error.code, error.retryAfterS]).toEqual(['rate_limited', 3600]);
    expect(api.calls).toHaveLength(1);
  });

  it('waits no longer than its signal lets it', async () => {
    const busy = new ArmatureError('rate_limited', 'too many', { retryAfterS: 30 });
    const { client } = await start({ 'datasets.get': failing(9, busy, dataset()) });
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    const asked = client.datasets.get({ id: 'ds_1' }, { signal: stop.signal });
    expect((await refusal(asked)).code).toBe('cancelled');
  });

  it('reads Retry-After of a proxy in seconds and as a date', async () => {
    for (const header of ['0', new Date(Date.now() - 1000).toUTCString()]) {
      let asked = 0;
      const client = new Armature({
        apiUrl: 'http://localhost',
        apiKey: 'k',
        retry: { attempts: 1, baseMs: 1 },
        fetch: async () => {
          const headers = { 'retry-after': header };
          if (asked++ < 3) return new Response('slow down', { status: 429, headers });
          return Response.json(dataset());
        },
      });
      expect((await client.datasets.get({ id: 'ds_1' })).id).toBe('ds_1');
      expect(asked).toBe(4);
    }
  });

  it('waits for the answer of an attempt that is still carried out, not for other conflicts', async () => {
    const twin = new ArmatureError('conflict', 'is being carried out', {
      field: 'idempotency-key',
      retryAfterS: 0.01,
    });
    const { api, client } = await start({ 'embodiments.create': failing(1, twin, embodiment) });
    expect(await client.embodiments.create({ spec: armSpec })).toEqual(embodiment);
    const taken = new ArmatureError('conflict', 'the name is taken', { field: 'name' });
    api.handlers['embodiments.create'] = failing(1, taken, embodiment);
    expect((await refusal(client.embodiments.create({ spec: armSpec }))).message).toContain(
      'taken',
    );
  });

  it('what a repeat does not mend is not repeated', async () => {
    const { api, client } = await start({
      'datasets.get': failing(1, new ArmatureError('forbidden', 'not yours'), dataset()),
    });
    expect((await refusal(client.datasets.get({ id: 'ds_1' }))).code).toBe('forbidden');
    expect(api.calls).toHaveLength(1);
  });

  it('ends with its signal and its time', async () => {
    const { client } = await start({
      'datasets.get': () => new Promise((resolve) => setTimeout(() => resolve(dataset()), 2_000)),
    });
    const stop = new AbortController();
    const asked = refusal(client.datasets.get({ id: 'ds_1' }, { signal: stop.signal }));
    setTimeout(() => stop.abort(), 20);
    expect((await asked).code).toBe('cancelled');
    const slow = refusal(client.datasets.get({ id: 'ds_1' }, { timeoutMs: 20 }));
    expect((await slow).code).toBe('timeout');
  });
});
