import { routes, type RouteName } from '@armature/sdk/contract';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { inputs, type World } from '../test/isolation/inputs.ts';
import { skins } from '../test/isolation/skins.ts';
import { callOf, makeWorld } from '../test/isolation/world.ts';
import { startTestApi, type TestApi } from '../test/support/api.ts';
import { addServeWorker, addUsage } from '../test/support/rows.ts';

/** Lists that have no cursor, and how they are bounded. */
const WITHOUT: Readonly<Partial<Record<RouteName, string>>> = {
  'datasets.episodes': 'by numbered pages of fifty',
  'finetunes.events': 'by `after`, the number of an event',
  'finetunes.metrics': 'by `after`, a step',
  'finetunes.checkpoints': 'one is kept at a time',
  'usage.get': 'sums, of 10,000 keys at most',
  'prices.list': 'what the operator has written in one file',
};
const names = Object.keys(routes) as RouteName[];
const lists = names.filter((name) => 'items' in routes[name].output.shape);
const paged = lists.filter((name) => 'cursor' in routes[name].input.shape);

const pageSchema = z.object({
  items: z.array(z.looseObject({ id: z.string() })),
  next_cursor: z.string().nullable(),
});

let api: TestApi;
let admin: Sql;
let world: World;

/** Three of everything at least. */
beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
  world = await makeWorld(api, 'many');
  for (let i = 0; i < 3; i += 1) {
    await addServeWorker(api.db.worker);
    for (const name of [
      'keys.create',
      'invitations.create',
      'invitations.accept',
      'embodiments.create',
      'sessions.create',
      'webhooks.create',
      'webhooks.test',
    ] as const) {
      const { credential, input } = await callOf(api, name, world);
      const answer = await skins['REST']?.call(api, name, credential, input);
      expect(answer, name).toMatchObject({ status: 200 });
    }
  }
  const { items } = await api.must('sessions.list', world.admin, {});
  for (const { id } of items) await addUsage(api.db.worker, world.tenant, id, 12);
  // The windows of what was used are closed by then.
  api.clock.skewMs = 45 * 60_000;
});
afterAll(async () => {
  await admin.end();
  await api.stop();
});

async function pageOf(name: RouteName, more: object) {
  const input = { ...inputs[name](world.ids), ...more };
  // Of all that was done, not of one subject.
  if (name === 'audit.list') Reflect.deleteProperty(input, 'subject');
  const answer = await skins['REST']?.call(api, name, world.admin, input);
  expect(answer, name).toMatchObject({ status: 200 });
  return pageSchema.parse(answer?.ok);
}

async function walk(name: RouteName, limit: number): Promise<string[]> {
  const seen: string[] = [];
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await pageOf(name, { limit, ...(cursor === undefined ? {} : { cursor }) });
    expect(page.items.length).toBe(page.next_cursor === null ? page.items.length : limit);
    seen.push(...page.items.map(({ id }) => id));
    if (seen.length > 1_000) throw new Error(`${name} has no end`);
    cursor = page.next_cursor;
  }
  return seen;
}

it('every list has a cursor, or says why it needs none', () => {
  expect(lists.filter((name) => !paged.includes(name)).sort()).toEqual(Object.keys(WITHOUT).sort());
});

describe.each([
  ['as they were made', false],
  ['all of one instant', true],
])('rows %s', (_how, isOneInstant) => {
  beforeAll(async () => {
    if (!isOneInstant) return;
    const tables = await admin<{ name: string }[]>`
      select table_name as name from information_schema.columns
      where table_schema = 'public' and column_name in ('tenant_id', 'id', 'created_at')
      group by 1 having count(*) = 3`;
    for (const { name } of tables) {
      await admin`update ${admin(name)} set created_at = '2026-01-02T03:04:05.678Z'
        where tenant_id = ${world.tenant}`;
    }
  });

  it.each(paged)('%s gives each once, newest first, however large its pages are', async (name) => {
    const whole = await pageOf(name, { limit: 200 });
    expect(whole.next_cursor).toBeNull();
    const ids = whole.items.map(({ id }) => id);
    expect(ids.length).toBeGreaterThanOrEqual(3);
    expect(new Set(ids).size).toBe(ids.length);
    const at = whole.items.map((item) => String(item['created_at'] ?? item['window_at']));
    expect(at).toEqual(at.toSorted().toReversed());
    for (const limit of [1, 2, ids.length]) expect(await walk(name, limit)).toEqual(ids);
  });
});
