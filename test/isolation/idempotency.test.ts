import { routes, type RouteName } from '@armature/sdk/contract';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, startTestApi, type TestApi } from '../support/api.ts';
import { addServeWorker } from '../support/rows.ts';
import { SPOILING, type World } from './inputs.ts';
import { skins } from './skins.ts';
import { callOf, makeWorld } from './world.ts';

const mutations = (Object.keys(routes) as RouteName[])
  .filter((name) => routes[name].method !== 'GET')
  .sort((x, y) => Number(SPOILING.has(x)) - Number(SPOILING.has(y)));

/** What changes nothing: no line of the audit log. */
const WITHOUT_LINE: ReadonlySet<RouteName> = new Set(['finetunes.estimate']);
/** What has one input alone: the credential, or an invitation that says of which tenant it is. */
const WITHOUT_OTHER_INPUT: ReadonlySet<RouteName> = new Set(['invitations.accept', 'account.join']);

let api: TestApi;
let admin: postgres.Sql;
beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
});
afterAll(async () => {
  await admin.end();
  await api.stop();
});

const auditLines = async (): Promise<number> => {
  const [row] = await admin<{ count: number }[]>`select count(*)::int as count from audit_log`;
  return row?.count ?? expect.fail('no count');
};

/** The input with one string in it changed, so that the verb still takes it. */
function otherInput(name: RouteName, input: object): object {
  const text = JSON.stringify(input);
  const strings = [...text.matchAll(/:"([^"\\]*)"/g)].map(([, value = '']) => value);
  for (const value of strings) {
    for (const other of [value.replace(/[0-9a-z]{26}$/, '0'.repeat(26)), `${value}x`, 'UTC']) {
      const changed = JSON.parse(text.replace(`:"${value}"`, `:"${other}"`)) as object;
      const isOther = JSON.stringify(changed) !== text;
      if (isOther && routes[name].input.safeParse(changed).success) return changed;
    }
  }
  throw new Error(`${name} has no other input like ${text}`);
}

const mutating = Object.entries(skins).filter(([, { verbs }]) => verbs.includes('keys.create'));

describe.each(mutating)('by %s, the idempotency key of', (skin, { call }) => {
  let world: World;
  beforeAll(async () => {
    world = await makeWorld(api, 'a');
  });

  it.each(mutations)('%s has it carried out once', async (name) => {
    await addServeWorker(api.db.worker);
    const made = await callOf(api, name, world);
    const by = routes[name].scope === 'platform' ? PLATFORM_KEY : made.credential;
    const send = (input: object) =>
      call(api, name, by, input, { 'idempotency-key': `once-for-all-${name}-${skin}` });
    const before = await auditLines();
    const twins = await Promise.all([1, 2, 3].map(() => send(made.input)));
    const [done, ...more] = twins.filter(({ status }) => status === 200);
    expect(done, JSON.stringify(twins)).toBeDefined();
    for (const again of more) expect(again).toEqual(done);
    for (const told of twins.filter(({ status }) => status !== 200)) {
      const problem = { code: 'conflict', field: 'idempotency-key' };
      expect(told).toMatchObject({ status: 409, problem });
    }
    expect(await send(made.input)).toEqual(done);
    expect((await auditLines()) - before).toBe(WITHOUT_LINE.has(name) ? 0 : 1);
    if (WITHOUT_OTHER_INPUT.has(name)) return;
    const changed = await send(otherInput(name, made.input));
    expect(changed).toMatchObject({ status: 422, problem: { code: 'idempotency_mismatch' } });
    expect((await auditLines()) - before).toBe(WITHOUT_LINE.has(name) ? 0 : 1);
  });
});
