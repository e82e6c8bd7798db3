import { randomUUID } from 'node:crypto';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { apiEnvironment, freePort, startApiProcess } from '../../../test/support/api-process.ts';
import { startTestApi, type TestApi } from '../../../test/support/api.ts';
import {
  passProvider,
  startLyingProvider,
  startOpenIdProvider,
  type Lie,
  type LyingProvider,
  type OpenIdProvider,
} from '../../../test/support/openid.ts';
import { Browser, signIn, signUp } from '../../../test/support/people.ts';
import { settingsOf } from '../../../test/support/settings.ts';
import { wantsTwoProcesses } from '../../../test/support/two-processes.ts';

/** Begins a sign-in, and gives where the provider is asked. */
async function begin(browser: Browser, more: object = {}): Promise<URL> {
  const asked = { provider: 'oidc', callbackURL: '/home', ...more };
  const answer = await browser.json('POST', '/auth/sign-in/social', asked);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return new URL((answer.body as { url: string }).url);
}

/** What the platform redirects to after a visit to its callback: the page, or why nobody was signed in. */
async function land(browser: Browser, callback: string): Promise<string> {
  const answer = await browser.send('GET', callback);
  const to = new URL(answer.headers.get('location') ?? '', browser.base);
  return to.searchParams.get('error') ?? to.pathname;
}

/** A parameter of a URL, which is there. */
function param(url: URL, name: string): string {
  const value = url.searchParams.get(name);
  if (value === null) throw new Error(`${url.href} has no ${name}`);
  return value;
}

const whoIs = async (browser: Browser) => (await browser.json('GET', '/v1/account')).body;

describe('a real provider', () => {
  let provider: OpenIdProvider;
  let api: TestApi;
  let rows: Sql;
  let atProvider: Browser;
  beforeAll(async () => {
    // The provider knows the callback before the platform listens, and the platform the provider.
    const publicUrl = `http://127.0.0.1:${await freePort()}`;
    provider = await startOpenIdProvider(`${publicUrl}/auth/callback/oidc`);
    api = await startTestApi({ oidc: provider.settings, publicUrl });
    rows = postgres(api.db.adminUrl, { max: 1 });
  });
  afterAll(async () => {
    await rows.end();
    await api.stop();
    await provider.stop();
  });
  let home: string;
  beforeEach(() => {
    atProvider = new Browser(provider.settings.issuer);
    home = '/auth/callback/oidc';
  });
  const page = () => new Browser(api.url, api.publicUrl);
  /** The callback as the provider redirects to it, its path and query. */
  async function visit(url: URL): Promise<string> {
    const back = new URL(await passProvider(atProvider, url.href, api.publicUrl));
    expect(back.pathname).toBe(home);
    return `${back.pathname}${back.search}`;
  }

  it('signs a person in by code with PKCE, state and nonce, and knows the person again', async () => {
    provider.account = { sub: '1', email: 'Dora@Example.com', email_verified: true, name: 'Dora' };
    const browser = page();
    const url = await begin(browser);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      response_type: 'code',
      client_id: 'armature',
      code_challenge_method: 'S256',
      redirect_uri: `${api.publicUrl}/auth/callback/oidc`,
      scope: expect.stringContaining('openid') as string,
    });
    for (const each of ['state', 'nonce', 'code_challenge']) {
      expect(url.searchParams.get(each)?.length, each).toBeGreaterThan(20);
    }
    expect(await land(browser, await visit(url))).toBe('/home');
    expect(browser.attributes.get('armature.session_token')).toMatch(/HttpOnly.*SameSite=Lax/i);
    const known = { person: { email: 'dora@example.com', email_verified: true, name: 'Dora' } };
    expect(await whoIs(browser)).toMatchObject(known);
    const again = page();
    expect(await land(again, await visit(await begin(again)))).toBe('/home');
    expect(await whoIs(again)).toEqual(await whoIs(browser));
    const [account] = await rows`select * from identity.accounts where provider_id = 'oidc'`;
    expect(account).toMatchObject({
      account_id: `${provider.settings.issuer} 1`,
      access_token: null,
      refresh_token: null,
      id_token: null,
    });
  });

  it('lets a code and a state be used once, by the browser that asked', async () => {
    provider.account = { sub: '2', email: 'emil@example.com', email_verified: true, name: 'Emil' };
    const browser = page();
    const callback = await visit(await begin(browser));
    const thief = page();
    expect(await land(thief, callback)).toBe('state_mismatch');
    expect(thief.cookies).toBe('');
    expect(await land(browser, callback)).toBe('/home');
    await browser.send('POST', '/auth/sign-out', {});
    expect(await land(browser, callback)).toBe('state_mismatch');
    // The code that was used, with a state that is good.
    const code = param(new URL(callback, api.url), 'code');
    const fresh = await begin(browser);
    const state = param(fresh, 'state');
    const replayed = `/auth/callback/oidc?code=${code}&state=${state}`;
    expect(await land(browser, replayed)).toBe('invalid_code');
    expect(await whoIs(browser)).toMatchObject({ code: 'missing_key' });
  });

  it('takes no state that was not given out, and no code of another visit', async () => {
    provider.account = { sub: '3', email: 'fritz@example.com', email_verified: true };
    const browser = page();
    await begin(browser);
    for (const state of ['', 'x', randomUUID()]) {
      const landed = await land(browser, `/auth/callback/oidc?code=abc&state=${state}`);
      expect(landed).toMatch(/^state_(mismatch|not_found)$/);
    }
    // A code of an attacker's own, put into the victim's visit: PKCE does not fit.
    const attacker = page();
    const stolen = param(new URL(await visit(await begin(attacker)), api.url), 'code');
    const state = param(await begin(browser), 'state');
    const mixed = `/auth/callback/oidc?code=${stolen}&state=${state}`;
    expect(await land(browser, mixed)).toBe('invalid_code');
    expect(browser.cookies).not.toContain('session_token');
  });

  it('links an account only where both sides have verified the address', async () => {
    const email = 'gerda@example.com';
    const byPassword = await signUp(api.url, api.box, email, api.publicUrl);
    provider.account = { sub: 'not hers', email, email_verified: false };
    const stranger = page();
    expect(await land(stranger, await visit(await begin(stranger)))).toMatch(
      /not_(linked|verified)/,
    );
    expect(stranger.cookies).not.toContain('session_token');
    provider.account = { sub: 'hers', email, email_verified: true };
    atProvider = new Browser(provider.settings.issuer);
    const own = page();
    expect(await land(own, await visit(await begin(own)))).toBe('/home');
    expect(await whoIs(own)).toEqual(await whoIs(byPassword));

    // Somebody signed up with an address of another's and never opened the link.
    const squatted = { name: 'x', email: 'hugo@example.com', password: 'a squatter’s password' };
    expect((await page().send('POST', '/auth/sign-up/email', squatted)).status).toBe(200);
    provider.account = { sub: 'hugo', email: squatted.email, email_verified: true };
    atProvider = new Browser(provider.settings.issuer);
    const hugo = page();
    expect(await land(hugo, await visit(await begin(hugo)))).toBe('account_not_linked');
  });

  it('makes nobody of an address that is not verified, or of none', async () => {
    const before = await rows`select from identity.people`;
    for (const account of [
      { sub: '5', email: 'ida@example.com', email_verified: false },
      { sub: '6', email: 'ida@example.com' },
      { sub: '7' },
    ]) {
      provider.account = account;
      atProvider = new Browser(provider.settings.issuer);
      const browser = page();
      const landed = await land(browser, await visit(await begin(browser)));
      expect(landed).toMatch(/^email_not_(verified|found)$/);
      expect(browser.cookies).not.toContain('session_token');
    }
    expect(await rows`select from identity.people`).toHaveLength(before.length);
  });

  it('returns to no page elsewhere', async () => {
    for (const field of ['callbackURL', 'errorCallbackURL', 'newUserCallbackURL']) {
      const asked = { provider: 'oidc', callbackURL: '/', [field]: 'https://elsewhere.example/' };
      const answer = await page().json('POST', '/auth/sign-in/social', asked);
      expect(answer, field).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
  });

  it('that refuses leads to a page that says why', async () => {
    const browser = page();
    const state = param(await begin(browser), 'state');
    const refused = `/auth/callback/oidc?error=access_denied&state=${state}`;
    const answer = await browser.send('GET', refused);
    const to = new URL(answer.headers.get('location') ?? '');
    expect(to.origin + to.pathname).toBe(`${api.publicUrl}/auth/error`);
    const shown = await browser.json('GET', `${to.pathname}${to.search}`);
    expect(shown).toMatchObject({ status: 401, body: { code: 'not_signed_in' } });
    expect(JSON.stringify(shown.body)).toContain('access_denied');
    const script = await browser.json('GET', '/auth/error?error=<script>');
    expect(JSON.stringify(script.body)).not.toContain('script');
  });
});

describe('a provider that lies', () => {
  let liar: LyingProvider;
  let api: TestApi;
  beforeAll(async () => {
    liar = await startLyingProvider();
    api = await startTestApi({ oidc: liar.settings });
  });
  afterAll(async () => {
    await api.stop();
    await liar.stop();
  });
  const email = 'jana@example.com';
  const claims = { sub: 'j', email, email_verified: true };

  /** A visit whose ID token is what the lie makes of one that is right. */
  async function tell(lie: Lie): Promise<{ landed: string; browser: Browser }> {
    const browser = new Browser(api.url);
    const url = await begin(browser);
    const nonce = param(url, 'nonce');
    liar.lie = { ...lie, claims: { ...claims, nonce, ...lie.claims } };
    const state = param(url, 'state');
    const landed = await land(browser, `/auth/callback/oidc?code=any&state=${state}`);
    return { landed, browser };
  }

  it('is believed where it does not', async () => {
    const { landed, browser } = await tell({});
    expect(landed).toBe('/home');
    expect(await whoIs(browser)).toMatchObject({ person: { email } });
  });

  const now = Math.floor(Date.now() / 1000);
  it.each<[string, Lie]>([
    ['a nonce of another visit', { claims: { nonce: 'another' } }],
    ['no nonce', { claims: { nonce: undefined } }],
    ['another issuer', { claims: { iss: 'https://elsewhere.example' } }],
    ['another audience', { claims: { aud: 'another client' } }],
    ['a time that is over', { claims: { iat: now - 7200, exp: now - 3600 } }],
    ['no subject', { claims: { sub: undefined } }],
    ['a stranger’s signature', { signer: 'a stranger' }],
    ['the client’s secret as key', { signer: 'the client’s secret' }],
    ['no signature', { signer: 'nobody' }],
  ])('is not with %s', async (_what, lie) => {
    const { landed, browser } = await tell(lie);
    expect(landed).toBe('unable_to_get_user_info');
    expect(browser.cookies).not.toContain('session_token');
  });

  it('is not where the answer names another issuer', async () => {
    const browser = new Browser(api.url);
    const url = await begin(browser);
    liar.lie = { claims: { ...claims, nonce: param(url, 'nonce') } };
    const mixed = `/auth/callback/oidc?code=any&state=${param(url, 'state')}&iss=https://x.example`;
    expect(await land(browser, mixed)).toBe('issuer_mismatch');
  });

  // Of how one process starts, so that two more processes for each would show nothing.
  const inOneProcess = it.skipIf(wantsTwoProcesses());
  inOneProcess('does not become another by its discovery document', async () => {
    liar.issuer = 'https://elsewhere.example';
    const turned = await startTestApi({ oidc: liar.settings });
    const browser = new Browser(turned.url);
    const url = await begin(browser);
    const nonce = param(url, 'nonce');
    liar.lie = { claims: { ...claims, nonce, iss: 'https://elsewhere.example' } };
    const callback = `/auth/callback/oidc?code=any&state=${param(url, 'state')}`;
    expect(await land(browser, callback)).toBe('unable_to_get_user_info');
    liar.issuer = undefined;
    await turned.stop();
  });

  inOneProcess(
    'that is silent while the platform starts holds up no password and no stop, and is asked later',
    async () => {
      await api.person('karl@example.com');
      const port = await freePort();
      const publicUrl = `http://127.0.0.1:${port}`;
      const place = { databaseUrl: api.db.appUrl, storeRoot: api.storeRoot, publicUrl };
      const settings = { ...apiEnvironment(place), ...settingsOf({ oidc: liar.settings }) };
      liar.silent = true;
      const patient = await startApiProcess(settings, port);
      const browser = new Browser(publicUrl);
      await signIn(browser, 'karl@example.com');
      expect(await whoIs(browser)).toMatchObject({ person: { email: 'karl@example.com' } });
      liar.silent = false;
      expect((await begin(browser)).origin).toBe(liar.settings.issuer);
      expect(await patient.stop()).toBe(0);
    },
  );
});
