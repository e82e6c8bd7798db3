import { routes, type RouteName } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  startTestApi,
  type Credential,
  type TestApi,
  type TestApiOptions,
} from '../support/api.ts';
import { idFields, inputs, type World } from './inputs.ts';
import { skins, type SkinAnswer } from './skins.ts';
import { callOf, makeWorld, openSnapshots, type Snapshots } from './world.ts';

const verbs = (Object.keys(routes) as RouteName[]).filter(
  (name) => routes[name].scope !== 'platform',
);
const ID = /_[0-9a-z]{26}/g;

/** An answer without the ids in it, so that two of them can be compared. */
const shape = (answer: SkinAnswer): string => JSON.stringify(answer).replaceAll(ID, '_X');

/**
 * Every verb, as tenant b, with each id of its input in turn replaced by a's of the same kind: it
 * answers as for an id that never was, and nothing of a's changes. Verbs without ids answer with
 * nothing of a's.
 */
export function tenantMatrix(
  title: string,
  options: TestApiOptions = {},
  credentialOf: (world: World) => Credential = ({ admin }) => admin,
): void {
  let api: TestApi;
  let snapshots: Snapshots;
  let a: World;
  let b: World;

  beforeAll(async () => {
    api = await startTestApi(options);
    snapshots = await openSnapshots(api.db.adminUrl);
    a = await makeWorld(api, 'a');
    b = await makeWorld(api, 'b');
  });
  afterAll(async () => {
    await snapshots.close();
    await api.stop();
  });

  describe.each(Object.entries(skins))(`${title}, by %s`, (_skin, call) => {
    it.each(verbs)('%s shows and changes nothing of another tenant', async (name) => {
      const before = await snapshots.of(a.tenant);
      const by = credentialOf(b);
      const own: object = inputs[name](b.ids);
      const foreign: Record<string, unknown> = { ...inputs[name](a.ids) };
      const fields = idFields(foreign);
      for (const field of fields) {
        const answer = await call(api, name, by, { ...own, [field]: foreign[field] });
        expect(answer, field).toMatchObject({ status: 404, problem: { code: 'not_found' } });
        const named = JSON.stringify(foreign[field]);
        const never: unknown = JSON.parse(named.replaceAll(ID, `_${'0'.repeat(26)}`));
        const absent = await call(api, name, by, { ...own, [field]: never });
        expect(shape(answer), field).toBe(shape(absent));
      }
      if (fields.length === 0) {
        const { credential, input } = await callOf(api, name, b, by);
        const answer = await call(api, name, credential, input);
        expect(answer.status, JSON.stringify(answer.problem)).toBe(200);
        for (const id of [a.tenant, ...Object.values(a.ids)]) {
          expect(JSON.stringify(answer)).not.toContain(id);
        }
      }
      expect(await snapshots.of(a.tenant)).toBe(before);
    });
  });
}
