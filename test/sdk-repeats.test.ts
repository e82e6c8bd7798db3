import { Armature } from '@armature/sdk';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, startTestApi, type TestApi } from './support/api.ts';

let api: TestApi;
let apiKey: string;
beforeAll(async () => {
  api = await startTestApi();
  ({ key: apiKey } = await api.tenant());
});
afterAll(() => api.stop());

/** A network that loses the first `answers` answers after the API has given them. */
function losing(answers: number): typeof fetch {
  let lost = 0;
  return async (input, init) => {
    const answer = await fetch(input, init);
    if (lost++ >= answers) return answer;
    await answer.body?.cancel();
    throw new TypeError('fetch failed');
  };
}

describe('the client over a network that loses answers', () => {
  it('makes one key, and gets its secret', async () => {
    const input = { name: 'once', scopes: ['read' as const] };
    const retry = { baseMs: 1 };
    const client = new Armature({ apiUrl: api.url, apiKey, fetch: losing(2), retry });
    const { key, secret } = await client.keys.create(input);
    const named = (await client.keys.list()).items.filter(({ name }) => name === 'once');
    expect(named.map(({ id }) => id)).toEqual([key.id]);
    const other = new Armature({ apiUrl: api.url, apiKey: secret });
    expect((await other.tenants.current()).name).toBe('a tenant');
  });

  it('revokes a key once, and says so although it is gone by the second attempt', async () => {
    const plain = new Armature({ apiUrl: api.url, apiKey });
    const { key } = await plain.keys.create({ name: 'gone', scopes: ['read'] });
    const retry = { baseMs: 1 };
    const client = new Armature({ apiUrl: api.url, apiKey, fetch: losing(1), retry });
    expect((await client.keys.revoke({ id: key.id })).id).toBe(key.id);
  });

  it('makes one tenant for an operator, and gets its key', async () => {
    const retry = { baseMs: 1 };
    const client = new Armature({
      apiUrl: api.url,
      apiKey: PLATFORM_KEY,
      fetch: losing(2),
      retry,
    });
    const { tenant, secret } = await client.tenants.create({ name: 'one' });
    const admin = postgres(api.db.adminUrl, { max: 1 });
    const named = await admin`select id from tenants where name = 'one'`;
    await admin.end();
    expect(named).toMatchObject([{ id: tenant.id }]);
    const own = new Armature({ apiUrl: api.url, apiKey: secret });
    expect((await own.tenants.current()).id).toBe(tenant.id);
  });
});
