import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tokenVerifier } from '../../workers/serve/gateway/session-token.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import type { World } from './inputs.ts';
import { callOf, makeWorld } from './world.ts';

/** Kinds of credentials, each a live one of the same tenant. */
const kinds = ['key', 'invitation', 'token', 'signature', 'sign-in'] as const;
type Kind = (typeof kinds)[number];

const COOKIE = 'armature.session_token';

let api: TestApi;
let world: World;
let upload: { url: string; headers: Record<string, string> };
let credential: Record<Kind, string>;

beforeAll(async () => {
  api = await startTestApi();
  world = await makeWorld(api, 'doors');
  const { credential: invitation } = await callOf(api, 'invitations.accept', world);
  if (typeof invitation !== 'string') throw new Error('an invitation is a bearer');
  const { parts } = await api.must('datasets.plan', world.admin, { id: world.ids.open });
  const [part] = parts;
  if (part === undefined) throw new Error('nothing is left to upload');
  upload = part;
  credential = {
    key: world.admin,
    invitation,
    'sign-in': world.owner.cookies.replace(`${COOKIE}=`, ''),
    token: world.token,
    signature: new URL(part.url).searchParams.get('signature') ?? '',
  };
});
afterAll(async () => api.stop());

const put = async (url: URL, bearer?: string): Promise<boolean> => {
  const authorization = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
  const headers = { ...upload.headers, ...authorization };
  return (await fetch(url, { method: 'PUT', headers, body: '{}' })).ok;
};

/** Whether each door lets a credential in, and which kind it is made for. */
const doors: Record<string, { for: Kind; opens: (credential: string) => Promise<boolean> }> = {
  'the API': {
    for: 'key',
    opens: async (key) => (await api.call('tenants.current', key, {})).status === 200,
  },
  'the gateway': {
    for: 'token',
    opens: async (token) =>
      tokenVerifier(`${api.url}/.well-known/jwks.json`)(token).then(
        ({ claims }) => claims.tenant === world.tenant,
        () => false,
      ),
  },
  'an upload': {
    for: 'signature',
    opens: async (signature) => {
      const url = new URL(upload.url);
      url.searchParams.set('signature', signature);
      return put(url);
    },
  },
  'a cookie': {
    for: 'sign-in',
    opens: async (value) => {
      const cookies = `${COOKIE}=${value}`;
      const account = await api.call('account.get', { cookies }, {});
      const tenant = await api.call('tenants.current', { cookies, tenant: world.tenant }, {});
      expect(tenant.status).toBe(account.status);
      return account.status === 200;
    },
  },
  'accepting an invitation': {
    for: 'invitation',
    opens: async (secret) => (await api.call('invitations.accept', secret, {})).status === 200,
  },
};

describe.each(Object.entries(doors))('%s', (_door, { for: own, opens }) => {
  it.each(kinds)('opens to its own kind alone, asked with a live %s', async (kind) => {
    expect(await opens(credential[kind])).toBe(kind === own);
  });
});

describe('an upload', () => {
  it.each(kinds)('is not let in by a live %s as bearer in the signature’s place', async (kind) => {
    const url = new URL(upload.url);
    url.searchParams.delete('signature');
    expect(await put(url, credential[kind])).toBe(false);
  });
});
