import { routes, type RouteName } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  startTestApi,
  type Credential,
  type TestApi,
  type TestApiOptions,
} from '../support/api.ts';
import { idPaths, inputs, type FieldPath, valueAt, withValue, type World } from './inputs.ts';
import { shape, withoutIds } from './shape.ts';
import { skins } from './skins.ts';
import { callOf, makeWorld, openSnapshots, type Snapshots } from './world.ts';

const ofTenants = (verbs: readonly RouteName[]): RouteName[] =>
  verbs.filter((name) => routes[name].scope !== 'platform');
const pagedVerbs = ofTenants(Object.keys(routes) as RouteName[]).filter(
  (name) => 'cursor' in routes[name].input.shape,
);
/** What a list is narrowed to may be nothing's. */
const isFilter = (path: FieldPath): boolean => path.at(-1) === 'subject';
const pageSchema = z.object({ items: z.array(z.unknown()), next_cursor: z.string().nullable() });

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

  describe.each(Object.entries(skins))(`${title}, by %s`, (_skin, { call, verbs }) => {
    it.each(ofTenants(verbs))('%s shows and changes nothing of another tenant', async (name) => {
      const before = await snapshots.of(a.tenant);
      const by = credentialOf(b);
      const own: object = inputs[name](b.ids);
      const foreign: object = inputs[name](a.ids);
      const paths = idPaths(foreign);
      for (const path of paths) {
        const value = valueAt(foreign, path);
        const answer = await call(api, name, by, withValue(own, path, value));
        const absent = await call(api, name, by, withValue(own, path, withoutIds(value)));
        expect(shape(answer), path.join('.')).toBe(shape(absent));
        expect(answer, path.join('.')).toMatchObject(
          isFilter(path)
            ? { status: 200, ok: { items: [] } }
            : { status: 404, problem: { code: 'not_found' } },
        );
      }
      if (paths.every(isFilter)) {
        const { credential, input } = await callOf(api, name, b, by);
        const answer = await call(api, name, credential, input);
        expect(answer.status, JSON.stringify(answer.problem)).toBe(200);
        expectNothingOf(a, answer);
      }
      expect(await snapshots.of(a.tenant)).toBe(before);
    });
  });

  it.each(pagedVerbs)(`${title}, %s shows nothing behind another tenant’s cursor`, async (name) => {
    const list = async (verb: RouteName, by: Credential, input: object) => {
      const answer = await skins['REST']?.call(api, verb, by, input);
      expect(answer, verb).toMatchObject({ status: 200 });
      return pageSchema.parse(answer?.ok);
    };
    const by = credentialOf(b);
    const first = { ...inputs[name](a.ids), limit: 1 };
    const cursor =
      (await list(name, credentialOf(a), first)).next_cursor ??
      // Of what a has but one there is none; it has done more than one thing.
      (await list('audit.list', credentialOf(a), { limit: 1 })).next_cursor;
    if (cursor === null) throw new Error('a has no cursor');
    const own = inputs[name](b.ids);
    const seen = await list(name, by, { ...own, limit: 200, cursor });
    expectNothingOf(a, seen);
    const all = (await list(name, by, { ...own, limit: 200 })).items;
    expect(all).toEqual(expect.arrayContaining(seen.items));
  });

  function expectNothingOf(world: World, answer: unknown): void {
    for (const id of [world.tenant, ...Object.values(world.ids)]) {
      expect(JSON.stringify(answer)).not.toContain(id);
    }
  }
}
