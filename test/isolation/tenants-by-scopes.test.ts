import { routes, type Scope } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type Credential, type TestApi } from '../support/api.ts';
import { idPaths, inputs, valueAt, withValue, type World } from './inputs.ts';
import { shape, withoutIds } from './shape.ts';
import { skins } from './skins.ts';
import { makeWorld, memberOf, openSnapshots, type Snapshots } from './world.ts';

/** Every kind of credential but an admin's, with the scopes of verbs that it may call. */
const kinds: readonly {
  readonly by: string;
  readonly may: readonly Scope[];
  readonly of: (api: TestApi, world: World) => Promise<Credential>;
}[] = [
  { by: 'a key of scope read', may: ['read'], of: keyOf('read') },
  { by: 'a key of scope write', may: ['read', 'write'], of: keyOf('write') },
  { by: 'a key of scope robot', may: ['robot'], of: keyOf('robot') },
  { by: 'an engineer', may: ['read', 'write', 'robot'], of: personOf('engineer') },
  { by: 'an operator', may: ['read', 'robot'], of: personOf('operator') },
  { by: 'a viewer', may: ['read'], of: personOf('viewer') },
];

function keyOf(scope: Scope) {
  return async (api: TestApi, { admin }: World) => (await api.keyWith(admin, [scope])).key;
}
function personOf(role: 'engineer' | 'operator' | 'viewer') {
  return async (api: TestApi, world: World) => (await memberOf(api, world, role)).shown;
}

let api: TestApi;
let snapshots: Snapshots;
let a: World;
let b: World;
beforeAll(async () => {
  api = await startTestApi();
  snapshots = await openSnapshots(api.db.adminUrl);
  a = await makeWorld(api, 'a');
  b = await makeWorld(api, 'b');
});
afterAll(async () => {
  await snapshots.close();
  await api.stop();
});

describe('another tenant’s ids are none that ever were', () => {
  const everywhere = Object.keys(skins).flatMap((skin) => kinds.map((kind) => ({ skin, ...kind })));
  it.each(everywhere)('for $by, by $skin', async ({ skin, may, of }) => {
    const by = await of(api, b);
    const before = await snapshots.of(a.tenant);
    const { call, verbs: served } = skins[skin] ?? expect.fail(`no ${skin}`);
    const verbs = served.filter((name) => may.some((scope) => scope === routes[name].scope));
    let tried = 0;
    for (const name of verbs) {
      const foreign: object = inputs[name](a.ids);
      for (const path of idPaths(foreign)) {
        const value = valueAt(foreign, path);
        const own: object = inputs[name](b.ids);
        const answer = await call(api, name, by, withValue(own, path, value));
        const what = `${name} ${path.join('.')}`;
        expect(answer, what).toMatchObject({ status: 404, problem: { code: 'not_found' } });
        const never = await call(api, name, by, withValue(own, path, withoutIds(value)));
        expect(shape(answer), what).toBe(shape(never));
        tried += 1;
      }
    }
    const least = may.includes('read') ? 10 : 3;
    expect(tried).toBeGreaterThanOrEqual(served.length > 1 ? least : verbs.length);
    expect(await snapshots.of(a.tenant)).toBe(before);
  });
});
