import { createHmac } from 'node:crypto';
import { routes, type Need, type RouteName, type Scope } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newApiKey } from '../../api/auth/api-key.ts';
import {
  PLATFORM_KEY,
  requestFor,
  startTestApi,
  type SignedIn,
  type TestApi,
} from '../support/api.ts';
import { addServeWorker } from '../support/rows.ts';
import { inputs, SPOILING, type World } from './inputs.ts';
import { skins } from './skins.ts';
import {
  callOf,
  freshAddress,
  makeWorld,
  memberOf,
  openSnapshots,
  signedIn,
  type Snapshots,
} from './world.ts';

const names = Object.keys(routes) as RouteName[];
const SCOPES = ['admin', 'write', 'read', 'robot'] as const satisfies Scope[];

/** All that does not include the scope. */
const others: Record<Need, Scope[]> = {
  platform: ['admin'],
  admin: ['write', 'read', 'robot'],
  write: ['read', 'robot'],
  read: ['robot'],
  robot: ['write', 'read'],
  invitation: ['admin'],
  person: ['admin'],
};

/** What is no API key, or is one no more; a function each of the world that it is shown to. */
const wrong: Record<string, (world: World) => string> = {
  'a key that never was': () => newApiKey(),
  'a cut key': ({ admin }) => admin.slice(0, -1),
  'a session token': ({ token }) => token,
  'the signature of an upload': ({ uploadSignature }) => uploadSignature,
  'a token without a signature': ({ tenant }) => unsigned({ tenant, sub: tenant }),
  'a token signed by a stranger': ({ tenant }) => signed({ tenant, sub: tenant }),
  'the id of a key': ({ ids }) => ids.key,
  'an invitation that never was': () => newApiKey('invitation'),
  'a cut invitation': ({ invitation }) => invitation.slice(0, -1),
};
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const unsigned = (claims: object): string => `${part({ alg: 'none' })}.${part(claims)}.`;
function signed(claims: object): string {
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${text}.${createHmac('sha256', 'a stranger').update(text).digest('base64url')}`;
}

let api: TestApi;
let snapshots: Snapshots;
let a: World;
let b: World;
/** Rows of tenant a when they were looked at last, which no test but the last ones changes. */
let rows: string;
let revoked: string;
let expired: string;
/** Keys of tenant b by what they lack, so that the rows of a stay as they are. */
const lacking = new Map<Need, string>();
/** People of tenant a: one who may read, and one who was removed. */
let viewer: SignedIn;
let removed: SignedIn;
/** People of no tenant: one who is signed in, and one who has signed out. */
let stranger: SignedIn;
let gone: SignedIn;
/** What viewers may do, by the table in the house's design. */
const VIEWERS: ReadonlySet<Need> = new Set(['read', 'person']);

beforeAll(async () => {
  api = await startTestApi();
  snapshots = await openSnapshots(api.db.adminUrl);
  a = await makeWorld(api, 'a');
  b = await makeWorld(api, 'b');
  for (const scope of [...SCOPES, 'platform', 'invitation', 'person'] as const) {
    lacking.set(scope, (await api.keyWith(b.admin, others[scope])).key);
  }
  const doomed = await api.keyWith(a.admin, ['admin']);
  await api.must('keys.revoke', a.admin, { id: doomed.id });
  revoked = doomed.key;
  const soon = new Date(Date.now() + 1_000).toISOString();
  expired = (await api.keyWith(a.admin, ['admin'], soon)).key;
  api.clock.skewMs = 2_000;
  viewer = (await memberOf(api, a, 'viewer')).shown;
  const leaver = await memberOf(api, a, 'owner');
  await api.must('members.remove', a.admin, { id: leaver.id });
  removed = leaver.shown;
  stranger = signedIn(await api.person(freshAddress()));
  const leaving = await api.person(freshAddress());
  gone = signedIn(leaving);
  expect((await leaving.send('POST', '/auth/sign-out', {})).status).toBe(200);
  rows = await snapshots.of(a.tenant);
});
afterAll(async () => {
  await snapshots.close();
  await api.stop();
});

/** Expects that nothing of tenant a has changed since it was looked at last. */
async function isUntouched(): Promise<void> {
  const before = rows;
  rows = await snapshots.of(a.tenant);
  expect(rows).toBe(before);
}

describe.each(Object.entries(skins))('by %s', (_skin, { call, verbs }) => {
  describe.each(verbs)('%s', (name) => {
    const { scope } = routes[name];

    it('answers no credential but a key that lives', async () => {
      const input = inputs[name](a.ids);
      const none = await call(api, name, undefined, input);
      expect(none).toMatchObject({ status: 401, problem: { code: 'missing_key' } });
      for (const [what, credential] of Object.entries(wrong)) {
        const answer = await call(api, name, credential(a), input);
        expect(answer, what).toMatchObject({ status: 401, problem: { code: 'invalid_key' } });
      }
      const ended = await call(api, name, revoked, input);
      expect(ended).toMatchObject({ status: 401, problem: { code: 'invalid_key' } });
      const late = await call(api, name, expired, input);
      expect(late).toMatchObject({ status: 401, problem: { code: 'expired_key' } });
      await isUntouched();
    });

    it.skipIf(scope === 'invitation')('refuses an invitation', async () => {
      const answer = await call(api, name, a.invitation, inputs[name](a.ids));
      expect(answer).toMatchObject({ status: 403, problem: { code: 'forbidden' } });
      await isUntouched();
    });

    it('refuses a key without its scope, before it reads the input', async () => {
      const answer = await call(api, name, lacking.get(scope), { nonsense: true });
      expect(answer).toMatchObject({ status: 403, problem: { code: 'forbidden' } });
      const other = scope === 'platform' ? a.admin : PLATFORM_KEY;
      const operator = await call(api, name, other, inputs[name](a.ids));
      expect(operator).toMatchObject({ status: 403, problem: { code: 'forbidden' } });
      await isUntouched();
    });

    it('lets in no person but a member who is signed in', async () => {
      const input = inputs[name](a.ids);
      const forged = `${a.owner.cookies.slice(0, -8)}AAAAAAA%3D`;
      for (const cookies of [gone.cookies, forged]) {
        const answer = await call(api, name, { ...a.owner, cookies }, input);
        expect(answer).toMatchObject({ status: 401, problem: { code: 'not_signed_in' } });
      }
      const others = [stranger, b.owner, removed];
      for (const person of scope === 'person' ? [] : others) {
        const answer = await call(api, name, { ...person, tenant: a.tenant }, input);
        expect(answer).toMatchObject({ status: 403, problem: { code: 'forbidden' } });
        const never = { ...person, tenant: `ten_${'0'.repeat(26)}` };
        expect(await call(api, name, never, input)).toEqual(answer);
      }
      if (SCOPES.some((one) => one === scope)) {
        const nowhere = await call(api, name, { ...a.owner, tenant: undefined }, input);
        expect(nowhere).toMatchObject({ status: 400, problem: { field: 'armature-tenant' } });
      }
      await isUntouched();
    });

    it.skipIf(VIEWERS.has(scope))('refuses a viewer, before it reads the input', async () => {
      const answer = await call(api, name, viewer, { nonsense: true });
      expect(answer).toMatchObject({ status: 403, problem: { code: 'forbidden' } });
      await isUntouched();
    });

    it.skipIf(routes[name].method === 'GET')('changes nothing for a page elsewhere', async () => {
      for (const origin of [undefined, 'null', 'https://elsewhere.example', `${api.url}.evil`]) {
        const answer = await call(api, name, { ...a.owner, origin }, inputs[name](a.ids));
        expect(answer, origin).toMatchObject({ status: 403, problem: { field: 'origin' } });
      }
      await isUntouched();
    });

    it('asks a key in vain for the tenant that a header names', async () => {
      if (!SCOPES.some((one) => one === scope)) return;
      const [url, request] = requestFor(api.url, name, b.admin, inputs[name](a.ids));
      const headers = { ...(request.headers as object), 'armature-tenant': a.tenant };
      const text = await (await fetch(url, { ...request, headers })).text();
      expect(text).not.toContain(a.tenant);
      await isUntouched();
    });
  });
});

describe('an owner who is signed in', () => {
  it.each(Object.entries(skins))(
    'may do all that is a tenant’s, by %s',
    async (skin, { call, verbs }) => {
      const order = [...verbs].sort((x, y) => Number(SPOILING.has(x)) - Number(SPOILING.has(y)));
      const world = await makeWorld(api, skin);
      for (const name of order) {
        const { scope } = routes[name];
        if (scope === 'platform' || scope === 'invitation') continue;
        await addServeWorker(api.db.worker);
        const { credential, input } = await callOf(api, name, world, world.owner);
        const answer = await call(api, name, credential, input);
        expect([name, answer.status, answer.problem]).toEqual([name, 200, undefined]);
      }
    },
  );
});

describe('the owner', () => {
  it('may do all of it, with the scope and no more', async () => {
    const order = [...names].sort((x, y) => Number(SPOILING.has(x)) - Number(SPOILING.has(y)));
    const keys = new Map<string, string>([['platform', PLATFORM_KEY]]);
    for (const scope of SCOPES) keys.set(scope, (await api.keyWith(a.admin, [scope])).key);
    for (const name of order) {
      await addServeWorker(api.db.worker);
      const { credential, input } = await callOf(api, name, a, keys.get(routes[name].scope));
      const answer = await api.call(name, credential, input);
      expect([name, answer.status, answer.problem]).toEqual([name, 200, undefined]);
    }
  });
});
