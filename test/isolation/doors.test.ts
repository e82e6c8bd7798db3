import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tokenVerifier } from '../../workers/serve/gateway/session-token.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import type { World } from './inputs.ts';
import { callOf, makeWorld } from './world.ts';

/** Kinds of credentials, each a live one of the same tenant. */
const kinds = ['key', 'invitation', 'token', 'signature', 'download', 'sign-in'] as const;
type Kind = (typeof kinds)[number];

const COOKIE = 'armature.session_token';

let api: TestApi;
let world: World;
let upload: { url: string; headers: Record<string, string> };
let download: string;
/** What another tenant was given to upload and to download. */
let foreign: { upload: typeof upload; download: string };
let credential: Record<Kind, string>;

beforeAll(async () => {
  api = await startTestApi();
  world = await makeWorld(api, 'doors');
  const { credential: invitation } = await callOf(api, 'invitations.accept', world);
  if (typeof invitation !== 'string') throw new Error('an invitation is a bearer');
  ({ upload, download } = await signedFor(world));
  foreign = await signedFor(await makeWorld(api, 'another'));
  credential = {
    key: world.admin,
    invitation,
    'sign-in': world.owner.cookies.replace(`${COOKIE}=`, ''),
    token: world.token,
    signature: signatureOf(upload.url),
    download: signatureOf(download),
  };
});
afterAll(async () => api.stop());

/** Upload and download that the API signs for a tenant. */
async function signedFor({ admin, ids }: World): Promise<typeof foreign> {
  const { parts } = await api.must('datasets.plan', admin, { id: ids.open });
  const { files } = await api.must('policies.files', admin, { id: ids.policy });
  const [[part], [file]] = [parts, files];
  if (part === undefined || file === undefined) throw new Error('nothing is signed');
  return { upload: part, download: file.url };
}
const signatureOf = (url: string): string => new URL(url).searchParams.get('signature') ?? '';
function signedBy(signature: string, url: string): URL {
  const changed = new URL(url);
  changed.searchParams.set('signature', signature);
  return changed;
}
function unsigned(url: string): URL {
  const bare = new URL(url);
  bare.searchParams.delete('signature');
  return bare;
}
const get = async (url: URL, headers: Record<string, string> = {}): Promise<boolean> =>
  (await fetch(url, { headers })).ok;

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
    opens: (signature) => put(signedBy(signature, upload.url)),
  },
  'a download': {
    for: 'download',
    opens: (signature) => get(signedBy(signature, download)),
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

describe('what lies in the store', () => {
  it.each(kinds)('is reached by no live %s in the signature’s place', async (kind) => {
    const shown = credential[kind];
    const cookie = `${COOKIE}=${shown}`;
    expect(await put(unsigned(upload.url), shown)).toBe(false);
    for (const headers of [{ authorization: `Bearer ${shown}` }, { cookie }]) {
      expect(await get(unsigned(download), headers)).toBe(false);
    }
  });

  it('is reached by nothing that was signed for another tenant', async () => {
    expect(await put(signedBy(signatureOf(foreign.upload.url), upload.url))).toBe(false);
    expect(await get(signedBy(signatureOf(foreign.download), download))).toBe(false);
    // The place of one with the whole query of the other.
    for (const [mine, theirs] of [
      [upload.url, foreign.upload.url],
      [download, foreign.download],
    ] as const) {
      const moved = new URL(theirs);
      moved.pathname = new URL(mine).pathname;
      expect(await put(moved)).toBe(false);
      expect(await get(moved)).toBe(false);
    }
  });
});
