import { routes, type RouteName } from '@armature/sdk/contract';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SPOILING, type World } from '../test/isolation/inputs.ts';
import { callOf, makeWorld } from '../test/isolation/world.ts';
import { startTestApi, type TestApi } from '../test/support/api.ts';
import { addServeWorker } from '../test/support/rows.ts';

const mutations = (Object.keys(routes) as RouteName[])
  .filter((name) => routes[name].method !== 'GET' && routes[name].scope !== 'platform')
  .sort((a, b) => Number(SPOILING.has(a)) - Number(SPOILING.has(b)));
/** What does nothing to the world of the matrix, and so leaves no line. */
const CHANGES_NOTHING: ReadonlySet<RouteName> = new Set(['finetunes.estimate']);

let api: TestApi;
let world: World;
beforeAll(async () => {
  api = await startTestApi();
  world = await makeWorld(api, 'audited');
});
afterAll(async () => api.stop());

describe('the audit log', () => {
  it('has a line of every mutation: who, what, of which, in which request', async () => {
    for (const name of mutations) {
      await addServeWorker(api.db.worker);
      const { credential, input } = await callOf(api, name, world);
      const before = await api.must('audit.list', world.admin, { limit: 1 });
      const answer = await api.call(name, credential, input);
      expect([name, answer.status]).toEqual([name, 200]);
      const { items } = await api.must('audit.list', world.admin, { limit: 1 });
      if (CHANGES_NOTHING.has(name)) {
        expect(items).toEqual(before.items);
        continue;
      }
      expect(items[0]).toMatchObject({ verb: name, request_id: 'test-request-1' });
      expect(items[0]?.id).not.toBe(before.items[0]?.id);
      expect(items[0]?.actor).toMatch(/^(key|inv|per)_/);
      expect(JSON.stringify(answer.ok)).toContain(items[0]?.subject_id);
    }
    const { items } = await api.must('audit.list', world.admin, { subject: world.ids.session });
    expect(items.map(({ verb }) => verb)).toEqual([
      'sessions.end',
      'sessions.resume',
      'sessions.create',
    ]);
    const all = await api.must('audit.list', world.admin, { limit: 200 });
    expect(JSON.stringify(all)).not.toMatch(/ar[ki]_v1_\w{20}/);
    expect(all.items.at(-1)).toMatchObject({ actor: 'platform', verb: 'tenants.create' });
  });

  it('is undone with what it records, and cannot be changed', async () => {
    const before = await api.must('audit.list', world.admin, { limit: 1 });
    const refused = await api.call('policies.deploy', world.admin, { id: 'pv_none' });
    expect(refused.status).toBe(404);
    expect(await api.must('audit.list', world.admin, { limit: 1 })).toEqual(before);
    const app = postgres(api.db.appUrl, { max: 1 });
    for (const statement of ["update audit_log set actor = 'x'", 'delete from audit_log']) {
      await expect(app.unsafe(statement)).rejects.toMatchObject({ code: '42501' });
    }
    await app.end();
  });
});

describe('rotating a key', () => {
  it('lets both keys work for the overlap and then the new one', async () => {
    const old = await api.keyWith(world.admin, ['read']);
    const made = await api.must('keys.rotate', world.admin, { id: old.id, overlap_s: 60 });
    expect(made.key).toMatchObject({ scopes: ['read'], name: 'read', expires_at: null });
    const statusOf = async (key: string) => (await api.call('tenants.current', key, {})).status;
    expect([await statusOf(old.key), await statusOf(made.secret)]).toEqual([200, 200]);
    api.clock.skewMs = 61_000;
    expect([await statusOf(old.key), await statusOf(made.secret)]).toEqual([401, 200]);
    api.clock.skewMs = 0;
    const { items } = await api.must('keys.list', world.admin, { limit: 200 });
    expect(items.find(({ id }) => id === made.key.id)?.last_used_at).not.toBeNull();
  });

  it('never gives a key a longer life than it had', async () => {
    const soon = new Date(Date.now() + 30_000);
    const old = await api.keyWith(world.admin, ['read'], soon.toISOString());
    const { key, old: ending } = await api.must('keys.rotate', world.admin, { id: old.id });
    expect(new Date(ending.expires_at ?? 0).getTime()).toBe(soon.getTime());
    expect(new Date(key.expires_at ?? 0).getTime() - Date.now()).toBeLessThan(40_000);
    const again = await api.call('keys.rotate', world.admin, { id: world.ids.key });
    expect(again).toMatchObject({ status: 409 });
  });
});
