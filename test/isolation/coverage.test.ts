import { routes, type RouteName } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { doors } from '../../api/auth/people/doors.ts';
import { z } from 'zod';
import { openApiDocument } from '../../api/openapi/document.ts';
import { createRouter } from '../../api/trpc/router.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import { idPaths, inputs, schemaIdPaths } from './inputs.ts';
import { makeWorld } from './world.ts';

const names = Object.keys(routes) as RouteName[];

/** What is served beside the verbs: nothing of a tenant's, or only to a signature made for it. */
const BESIDE: ReadonlySet<string> = new Set([
  'GET /healthz',
  'GET /readyz',
  'GET /.well-known/jwks.json',
  'GET /errors',
  'GET /errors/:code',
  // `finetunes.events` as a skin of its own (skins.ts).
  'GET /v1/finetunes/:id/stream',
  // To what is signed for it alone (doors.test.ts).
  'GET /store/*',
  'PUT /store/*',
  // Signing in: of people, who are no tenant's (api/auth/people/*.test.ts).
  ...doors.map(({ method, path }) => `${method} /auth${path}`),
  'GET /auth/error',
  'ALL /trpc/*',
  'ALL /*',
]);

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => api.stop());

describe('the matrix', () => {
  it('has every route that the application serves', () => {
    const verbs = new Set<string>(
      names.map((name) => `${routes[name].method} ${routes[name].path}`),
    );
    const served = new Set(api.app?.routes.map(({ method, path }) => `${method} ${path}`));
    expect([...served].filter((route) => !verbs.has(route) && !BESIDE.has(route))).toEqual([]);
    expect([...verbs].filter((route) => !served.has(route))).toEqual([]);
  });

  it('has its REST routes in the OpenAPI document, and no others', () => {
    const { paths } = openApiDocument() as { paths: Record<string, object> };
    const told = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const rest = api.app?.routes.filter(({ path }) => path.startsWith('/v1/')) ?? [];
    const served = rest.map(
      ({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`,
    );
    expect(told.sort()).toEqual([...new Set(served)].sort());
  });

  it('has every procedure of the router', () => {
    const router = createRouter(() => Promise.reject(new Error('is not called')), api.publicUrl);
    expect(Object.keys(router._def.procedures).sort()).toEqual([...names].sort());
  });

  it('names every id that a verb takes', async () => {
    const { ids } = await makeWorld(api, 'a');
    for (const name of names) {
      const text = (paths: readonly (readonly string[])[]) => paths.map((path) => path.join('.'));
      const asked = text(idPaths(inputs[name](ids)));
      expect(asked, name).toEqual(expect.arrayContaining(text(schemaIdPaths(routes[name].input))));
    }
  });

  it('finds ids wherever a schema has them', () => {
    const paths = new Set(names.flatMap((name) => schemaIdPaths(routes[name].input).map(String)));
    expect([...paths].sort()).toEqual([
      'added_dataset_ids',
      'dataset_id',
      'embodiment_id',
      'heldout_dataset_id',
      'id',
      'options,base_policy_version_id',
      'policy_version_id',
      'session_id',
      'subject',
    ]);
    const hidden = z.strictObject({
      list: z.array(z.union([z.strictObject({ key_id: z.string() }), z.null()])).default([]),
      map: z.record(z.string(), z.strictObject({ ids: z.array(z.string()) })).optional(),
    });
    expect(schemaIdPaths(hidden).map(String)).toEqual(['list,key_id', 'map,ids']);
  });
});
