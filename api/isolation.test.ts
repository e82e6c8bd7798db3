import { routes, type RouteInput, type RouteName, type Scope } from '@armature/sdk/contract';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';
import { addPolicyVersion, addServeWorker, addUsage, markReady } from '../test/support/rows.ts';
import { newApiKey } from './auth/api-key.ts';

interface World {
  tenant: string;
  admin: string;
  key: string;
  embodiment: string;
  dataset: string;
  open: string;
  finetune: string;
  policy: string;
  session: string;
  /** The token of its session, which is no API key. */
  token: string;
}

const file = fileOf('meta/info.json', Buffer.from('{}'));

/** An input of every verb that works for the owner of the world; none missing, by its type. */
const inputs: { [N in RouteName]: (world: World) => RouteInput<N> } = {
  'tenants.create': () => ({ name: 'another' }),
  'tenants.current': () => ({}),
  'keys.create': () => ({ name: 'k', scopes: ['read'] }),
  'keys.list': () => ({}),
  'keys.revoke': (world) => ({ id: world.key }),
  'embodiments.create': () => ({ spec: armSpec }),
  'embodiments.list': () => ({}),
  'embodiments.get': (world) => ({ id: world.embodiment }),
  'datasets.create': (world) => ({ name: 'd', embodiment_id: world.embodiment, files: [file] }),
  'datasets.plan': (world) => ({ id: world.open }),
  'datasets.complete': (world) => ({ id: world.dataset }),
  'datasets.list': () => ({}),
  'datasets.get': (world) => ({ id: world.dataset }),
  'finetunes.create': (world) => ({ name: 'f', dataset_id: world.dataset, options: {} }),
  'finetunes.list': () => ({}),
  'finetunes.get': (world) => ({ id: world.finetune }),
  'finetunes.cancel': (world) => ({ id: world.finetune }),
  'finetunes.events': (world) => ({ id: world.finetune }),
  'policies.list': () => ({}),
  'policies.get': (world) => ({ id: world.policy }),
  'policies.deploy': (world) => ({ id: world.policy }),
  'sessions.create': (world) => ({ robot: 'r', embodiment_id: world.embodiment }),
  'sessions.resume': (world) => ({ id: world.session }),
  'sessions.end': (world) => ({ id: world.session }),
  'sessions.list': () => ({}),
  'sessions.get': (world) => ({ id: world.session }),
  'usage.get': (world) => ({ session_id: world.session }),
  'reasoning.list': (world) => ({ session_id: world.session }),
};
const names = Object.keys(routes) as RouteName[];

/** All that does not include the scope. */
const others: Record<Scope | 'platform', Scope[]> = {
  platform: ['admin'],
  admin: ['write', 'read', 'robot'],
  write: ['read', 'robot'],
  read: ['robot'],
  robot: ['write', 'read'],
};

let api: TestApi;
let a: World;
let b: World;
let admin: Sql;

async function makeWorld(name: string): Promise<World> {
  const { id: tenant, key } = await api.tenant(name);
  const spare = await api.keyWith(key, ['read']);
  const embodiment = await api.must('embodiments.create', key, { spec: armSpec });
  const dataset = { name: 'd', embodiment_id: embodiment.id, files: [file] };
  const ready = await api.must('datasets.create', key, dataset);
  const open = await api.must('datasets.create', key, dataset);
  await markReady(api.db.worker, tenant, ready.dataset.id);
  const finetune = await api.must('finetunes.create', key, {
    name: 'f',
    dataset_id: ready.dataset.id,
    options: {},
  });
  const policy = await addPolicyVersion(api.db.worker, tenant, embodiment.id);
  await api.must('policies.deploy', key, { id: policy });
  await addServeWorker(api.db.worker);
  const { session, token } = await api.must('sessions.create', key, {
    robot: 'r1',
    embodiment_id: embodiment.id,
  });
  await addUsage(api.db.worker, tenant, session.id, 4);
  return {
    tenant,
    admin: key,
    key: spare.id,
    embodiment: embodiment.id,
    dataset: ready.dataset.id,
    open: open.dataset.id,
    finetune: finetune.id,
    policy,
    session: session.id,
    token,
  };
}

/** Every row of the tenant, key use apart, as one text. */
async function snapshot(tenant: string): Promise<string> {
  const rows = await admin.unsafe<{ row: string }[]>(snapshotQuery, [tenant]);
  expect(rows.length).toBeGreaterThan(10);
  return rows.map(({ row }) => row).join('\n');
}

let snapshotQuery: string;
async function writeSnapshotQuery(): Promise<string> {
  const tables = await admin<{ name: string }[]>`
    select table_name as name from information_schema.columns
    where table_schema = 'public' and column_name = 'tenant_id' order by 1`;
  const selects = tables.map(
    ({ name }) =>
      `select '${name} ' || (to_jsonb(t) - 'last_used_at')::text as row from ${name} t where tenant_id = $1`,
  );
  return `${selects.join(' union all ')} order by 1`;
}

beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
  snapshotQuery = await writeSnapshotQuery();
  a = await makeWorld('a');
  b = await makeWorld('b');
});
afterAll(async () => {
  await admin.end();
  await api.stop();
});

describe.each(names)('%s', (name) => {
  const input = (world: World) => inputs[name](world) as RouteInput<typeof name>;
  const { scope } = routes[name];
  const isPlatform = scope === 'platform';

  it('wants a key', async () => {
    const before = await snapshot(a.tenant);
    const answer = await api.call(name, undefined, input(a));
    expect(answer).toMatchObject({ status: 401, problem: { code: 'missing_key' } });
    expect(await snapshot(a.tenant)).toBe(before);
  });

  it.each([
    ['one that never was', () => newApiKey()],
    ['a cut one', () => a.admin.slice(0, -1)],
    ['a session token', () => a.token],
  ])('refuses a wrong key: %s', async (_, key) => {
    const before = await snapshot(a.tenant);
    const answer = await api.call(name, key(), input(a));
    expect(answer).toMatchObject({ status: 401, problem: { code: 'invalid_key' } });
    expect(await snapshot(a.tenant)).toBe(before);
  });

  it('refuses a key without its scope, before it reads the input', async () => {
    const before = await snapshot(a.tenant);
    const { key } = await lacking(scope);
    const answer = await api.call(name, key, { nonsense: true } as never);
    expect(answer).toMatchObject({ status: 403, problem: { code: 'forbidden' } });
    const operator = await api.call(name, isPlatform ? a.admin : PLATFORM_KEY, input(a));
    expect(operator).toMatchObject({ status: 403, problem: { code: 'forbidden' } });
    expect(await snapshot(a.tenant)).toBe(before);
  });

  it.skipIf(isPlatform)('shows and changes nothing of another tenant', async () => {
    const before = await snapshot(a.tenant);
    const asked = JSON.stringify(input(a));
    const { admin: _key, token: _token, ...own } = a;
    const ids: string[] = Object.values({ ...own });
    const named = ids.filter((id) => asked.includes(id));
    const answer = await api.call(name, b.admin, input(a));
    if (named.length > 0) {
      const absent = JSON.parse(asked.replaceAll(/_[0-9a-z]{26}/g, `_${'0'.repeat(26)}`)) as never;
      const never = await api.call(name, b.admin, absent);
      expect(answer).toMatchObject({ status: 404, problem: { code: 'not_found' } });
      const strip = (value: unknown) => JSON.stringify(value).replaceAll(/_[0-9a-z]{26}/g, '_X');
      expect(strip(answer)).toBe(strip(never));
    } else {
      expect(answer.status).toBe(200);
      for (const id of ids) expect(JSON.stringify(answer)).not.toContain(id);
    }
    expect(await snapshot(a.tenant)).toBe(before);
  });
});

const lackingKeys = new Map<string, { id: string; key: string }>();
async function lacking(scope: Scope | 'platform') {
  // Made in b, so that the snapshots of a stay as they are.
  const found = lackingKeys.get(scope) ?? (await api.keyWith(b.admin, others[scope]));
  lackingKeys.set(scope, found);
  return found;
}

describe('the owner', () => {
  it('may do all of it, with the scope and no more', async () => {
    const order = [...names].sort((x, y) => Number(isLast(x)) - Number(isLast(y)));
    const keys = new Map<string, string>([['platform', PLATFORM_KEY]]);
    for (const scope of ['admin', 'write', 'read', 'robot'] as const) {
      keys.set(scope, (await api.keyWith(a.admin, [scope])).key);
    }
    for (const name of order) {
      await addServeWorker(api.db.worker);
      const answer = await api.call(name, keys.get(routes[name].scope), inputs[name](a));
      expect([name, answer.status, answer.problem]).toEqual([name, 200, undefined]);
    }
  });
});

/** What would spoil the world for the verbs after it. */
function isLast(name: RouteName): boolean {
  return ['keys.revoke', 'finetunes.cancel', 'sessions.end'].includes(name);
}
