import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApi, type TestApi } from '../../../test/support/api.ts';
import { Browser, PASSWORD, signIn } from '../../../test/support/people.ts';
import { startSmtpReceiver, type SmtpReceiver } from '../../../test/support/smtp.ts';
import { wantsTwoProcesses } from '../../../test/support/two-processes.ts';
import { byAddress, byEmail } from './limits.ts';

let smtp: SmtpReceiver;
let api: TestApi;
let rows: Sql;
beforeAll(async () => {
  smtp = await startSmtpReceiver();
  const mail = { kind: 'smtp', url: smtp.url, from: 'Armature <no-reply@example.com>' } as const;
  api = await startTestApi({ mail });
  rows = postgres(api.db.adminUrl, { max: 1 });
});
afterAll(async () => {
  await rows.end();
  await api.stop();
  await smtp.stop();
});

const mailsTo = (address: string) => smtp.mails.filter(({ to }) => to.includes(address));
/** The path of the link in the `count`th mail to an address, once it is there. */
async function linkTo(address: string, count = 1): Promise<string> {
  await vi.waitFor(() => expect(mailsTo(address)).toHaveLength(count), { timeout: 30_000 });
  const { origin, pathname, search } = new URL(smtp.linkTo(address) ?? '');
  expect(origin).toBe(api.url);
  return `${pathname}${search}`;
}
const person = (email: string, password = PASSWORD) => ({ name: 'Ann', email, password });
async function signUp(email: string): Promise<Browser> {
  const browser = new Browser(api.url);
  expect((await browser.send('POST', '/auth/sign-up/email', person(email))).status).toBe(200);
  expect((await browser.send('GET', await linkTo(email))).status).toBe(302);
  return browser;
}
const whoIs = async (browser: Browser) => (await browser.send('GET', '/v1/account')).status;
const SIGN_IN = '/auth/sign-in/email';

describe('signing up', () => {
  it('sends a link, without which nobody signs in', async () => {
    const browser = new Browser(api.url);
    const made = await browser.json('POST', '/auth/sign-up/email', person('Ann@Example.com'));
    expect(made).toMatchObject({ status: 200, body: { token: null } });
    const link = await linkTo('ann@example.com');
    expect(mailsTo('ann@example.com')).toMatchObject([
      { from: 'no-reply@example.com', subject: 'Confirm your address', user: 'mailer' },
    ]);
    const credentials = { email: 'ann@example.com', password: PASSWORD };
    const refused = await browser.json('POST', SIGN_IN, credentials);
    expect(refused).toMatchObject({ status: 403, body: { code: 'email_not_verified' } });
    expect((await browser.send('GET', link)).status).toBe(302);
    // The link proves the mailbox and not the password: it signs nobody in.
    expect(browser.cookies).toBe('');
    await signIn(browser, 'ann@example.com');
    const account = await browser.json('GET', '/v1/account');
    expect(account).toMatchObject({
      status: 200,
      body: { person: { email: 'ann@example.com', email_verified: true, name: 'Ann' } },
    });
  });

  it('answers an address that is known as one that is not', async () => {
    await signUp('known@example.com');
    const answers = await Promise.all(
      ['known@example.com', 'unknown@example.com'].map((email) =>
        new Browser(api.url).json('POST', '/auth/sign-up/email', person(email, `${PASSWORD}!`)),
      ),
    );
    const shapes = answers.map(({ status, body }) => {
      const text = JSON.stringify(body).replaceAll(/per_\w+|[a-z]+@|\d{4}-[^"]+/g, 'X');
      return [status, text];
    });
    expect(shapes[0]).toEqual(shapes[1]);
    await expect.poll(() => mailsTo('known@example.com').length).toBe(2);
    expect(mailsTo('known@example.com')[1]?.subject).toBe('You have an account already');
    // Nothing of the second sign-up holds.
    const stranger = new Browser(api.url);
    const tried = { email: 'known@example.com', password: `${PASSWORD}!` };
    expect((await stranger.send('POST', SIGN_IN, tried)).status).toBe(401);
  });

  it('wants a password of 12 letters and fields that it knows', async () => {
    const browser = new Browser(api.url);
    const short = await browser.json(
      'POST',
      '/auth/sign-up/email',
      person('s@example.com', 'short'),
    );
    expect(short).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    const more = { ...person('s@example.com'), emailVerified: true };
    const refused = await browser.json('POST', '/auth/sign-up/email', more);
    expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });

  it('keeps a hash of the password, and tells it nobody', async () => {
    await signUp('hash@example.com');
    const kept = await rows<{ text: string }[]>`
      select a::text as text from identity.accounts a union all select p::text from identity.people p
      union all select v::text from identity.verifications v`;
    const everything = JSON.stringify(kept) + (await api.log()).join('\n');
    expect(everything).toContain('hash@example.com');
    expect(everything).not.toContain(PASSWORD);
    const logged = (await api.log()).join('\n');
    const [hash] = await rows<{ password: string }[]>`
      select password from identity.accounts where password is not null limit 1`;
    expect(logged).not.toContain(hash?.password);
  });
});

describe('signing in by password', () => {
  beforeAll(async () => {
    await signUp('bob@example.com');
  });

  it('sets a cookie that no script and no other site can use', async () => {
    const browser = new Browser(api.url);
    await signIn(browser, 'bob@example.com');
    const attributes = browser.attributes.get('armature.session_token') ?? '';
    expect(attributes).toMatch(/HttpOnly/i);
    expect(attributes).toMatch(/SameSite=Lax/i);
    expect(attributes).toMatch(/Path=\//i);
    expect(attributes).toMatch(/Max-Age=604800/i);
    expect(attributes).not.toMatch(/Domain=/i);
    expect(attributes).not.toMatch(/Secure/i);
  });

  it('tells a wrong password from an unknown address in nothing', async () => {
    const tries = ['bob@example.com', 'nobody@example.com'].map((email) =>
      new Browser(api.url).json('POST', SIGN_IN, { email, password: 'not the password at all' }),
    );
    const [known, unknown] = (await Promise.all(tries)).map(({ status, body }) => ({
      status,
      body: { ...(body as object), request_id: '' },
    }));
    expect(known).toMatchObject({ status: 401, body: { code: 'not_signed_in' } });
    expect(known).toEqual(unknown);
  });

  it('changes with the old one, which signs out everywhere else', async () => {
    const [one, two] = [new Browser(api.url), new Browser(api.url)];
    await signIn(one, 'bob@example.com');
    await signIn(two, 'bob@example.com');
    const change = { currentPassword: 'not this one', newPassword: 'a password to change to' };
    expect((await one.send('POST', '/auth/change-password', change)).status).toBe(400);
    change.currentPassword = PASSWORD;
    expect((await one.send('POST', '/auth/change-password', change)).status).toBe(200);
    expect([await whoIs(one), await whoIs(two)]).toEqual([200, 401]);
    const back = { currentPassword: change.newPassword, newPassword: PASSWORD };
    expect((await one.send('POST', '/auth/change-password', back)).status).toBe(200);
  });

  it('is refused to pages elsewhere', async () => {
    const credentials = { email: 'bob@example.com', password: PASSWORD };
    const evil = new Browser(api.url, 'https://elsewhere.example');
    expect((await evil.send('POST', SIGN_IN, credentials)).status).toBe(403);
    const form = await fetch(new URL(SIGN_IN, api.url), {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(credentials).toString(),
    });
    expect(form.status).toBe(400);
  });

  it('ends by signing out, by another device, and by time', async () => {
    const [one, two, three] = [1, 2, 3].map(() => new Browser(api.url));
    if (!one || !two || !three) throw new Error('three browsers');
    for (const browser of [one, two, three]) await signIn(browser, 'bob@example.com');
    const kept = one.cookies;
    expect((await one.send('POST', '/auth/sign-out', {})).status).toBe(200);
    expect(one.cookies).toBe('');
    // The cookie that was there is worth nothing either.
    for (const [name, value] of [kept.split('=', 2)]) one.set(name ?? '', value ?? '');
    expect([await whoIs(one), await whoIs(two)]).toEqual([401, 200]);
    expect((await two.send('POST', '/auth/revoke-other-sessions', {})).status).toBe(200);
    expect([await whoIs(two), await whoIs(three)]).toEqual([200, 401]);
    await rows`update identity.sign_ins set expires_at = now() - interval '1 second'`;
    expect(await whoIs(two)).toBe(401);
  });

  it('takes away what has expired with the next sign-in', async () => {
    await rows`update identity.sign_ins set expires_at = now() - interval '1 second'`;
    await signIn(new Browser(api.url), 'bob@example.com');
    await expect
      .poll(async () => (await rows`select from identity.sign_ins where expires_at < now()`).length)
      .toBe(0);
  });

  it('counts tries by address and by e-mail', async () => {
    const guess = (email: string) =>
      new Browser(api.url).json('POST', SIGN_IN, { email, password: 'a guess of a password' });
    api.caller.address = '198.51.100.7';
    const link = '/auth/verify-email?token=none';
    const tries = Array.from({ length: byAddress['sign-in'].max }, () =>
      new Browser(api.url).send('GET', link),
    );
    expect((await Promise.all(tries)).map(({ status }) => status)).not.toContain(429);
    const more = await guess('bob@example.com');
    expect(more).toMatchObject({
      status: 429,
      body: { code: 'rate_limited', limit: 'sign-in_by_address' },
    });
    // Another network is let in, and stopped where many of them guess at one person.
    api.caller.address = undefined;
    for (const email of ['bob@example.com', 'nobody-at-all@example.com']) {
      expect((await guess(email)).status).toBe(401);
      const most = byEmail['sign-in'].max;
      const counted = await rows`
        update identity.attempts set count = ${most} where key = ${`sign-in of ${email}`}`;
      expect(counted.count).toBe(1);
      const refused = await guess(email.toUpperCase());
      expect(refused).toMatchObject({ status: 429, body: { limit: 'sign-in_by_email' } });
    }
    await rows`delete from identity.attempts`;
  });
});

describe('a new password', () => {
  const RESET = '/auth/request-password-reset';
  const ask = (email: string) =>
    new Browser(api.url).json('POST', RESET, { email, redirectTo: '/reset' });

  it('comes by a link, once, and signs out everywhere', async () => {
    const browser = await signUp('cara@example.com');
    await signIn(browser, 'cara@example.com');
    const [known, unknown] = [await ask('cara@example.com'), await ask('none@example.com')];
    expect(known.status).toBe(200);
    expect(known).toEqual(unknown);
    const link = await linkTo('cara@example.com', 2);
    const followed = await browser.send('GET', link);
    const page = new URL(followed.headers.get('location') ?? '', api.url);
    expect(page.pathname).toBe('/reset');
    const reset = {
      token: page.searchParams.get('token'),
      newPassword: 'another one that is long',
    };
    const stranger = new Browser(api.url);
    expect((await stranger.send('POST', '/auth/reset-password', reset)).status).toBe(200);
    expect(await whoIs(browser)).toBe(401);
    const again = await stranger.json('POST', '/auth/reset-password', reset);
    expect(again).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    const old = { email: 'cara@example.com', password: PASSWORD };
    expect((await stranger.send('POST', SIGN_IN, old)).status).toBe(401);
    await signIn(stranger, 'cara@example.com', reset.newPassword);
    expect(await whoIs(stranger)).toBe(200);
    const kept = await rows<
      { text: string }[]
    >`select v::text as text from identity.verifications v`;
    expect(JSON.stringify(kept)).not.toContain(reset.token);
  });

  it('leads to no page elsewhere', async () => {
    const browser = new Browser(api.url);
    for (const redirectTo of [
      'https://elsewhere.example/',
      '//elsewhere.example/',
      '/\\elsewhere',
    ]) {
      const asked = await browser.json('POST', RESET, { email: 'bob@example.com', redirectTo });
      expect(asked, redirectTo).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
  });

  it('answers the same while the mail server refuses, and the log says so', async () => {
    smtp.refusing = true;
    const [known, unknown] = [await ask('bob@example.com'), await ask('none@example.com')];
    expect(known).toEqual(unknown);
    await expect.poll(async () => (await api.log()).join('\n')).toContain('a mail was not sent');
    smtp.refusing = false;
  });
});

describe('doors', () => {
  it('are shut for what the library has beside', async () => {
    const browser = new Browser(api.url);
    for (const path of ['/auth/delete-user', '/auth/change-email', '/auth/update-user']) {
      expect((await browser.json('POST', path, {})).status, path).toBe(404);
    }
    expect((await browser.json('GET', '/auth/ok')).status).toBe(404);
    const social = { provider: 'oidc', callbackURL: '/', idToken: { token: 'x' } };
    const refused = await browser.json('POST', '/auth/sign-in/social', social);
    expect(refused).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });

  it('take no body without an end', async () => {
    const password = 'x'.repeat(20_000);
    const answer = await new Browser(api.url).json('POST', SIGN_IN, { email: 'a@b.ch', password });
    expect(answer).toMatchObject({ status: 413, body: { code: 'payload_too_large' } });
  });
});

// Of what settings do to one process, so that two more processes for each would show nothing.
describe.skipIf(wantsTwoProcesses())('a platform', () => {
  it('that is reached by https sets cookies for https alone', async () => {
    const secure = await startTestApi({ publicUrl: 'https://api.example.com' });
    const browser = new Browser(secure.url, 'https://api.example.com');
    const email = 'sec@example.com';
    expect((await browser.send('POST', '/auth/sign-up/email', person(email))).status).toBe(200);
    await expect.poll(() => secure.box.linkTo(email)).toBeDefined();
    const { pathname, search } = new URL(secure.box.linkTo(email) ?? '');
    await browser.send('GET', `${pathname}${search}`);
    await signIn(browser, email);
    expect(browser.attributes.get('__Secure-armature.session_token')).toMatch(/; ?Secure/i);
    expect(await whoIs(browser)).toBe(200);
    // The name without the prefix is no sign-in here: what came over http does not count.
    const bare = new Browser(secure.url, 'https://api.example.com');
    const [, value = ''] = browser.cookies.split('=', 2);
    bare.set('armature.session_token', value);
    expect(await whoIs(bare)).toBe(401);
    await secure.stop();
  });

  it('that sends no mail says so, and lets nobody sign up', async () => {
    const mute = await startTestApi({ mail: { kind: 'none' } });
    const browser = new Browser(mute.url);
    for (const [path, body] of [
      ['/auth/sign-up/email', person('mute@example.com')],
      ['/auth/request-password-reset', { email: 'mute@example.com', redirectTo: '/' }],
      ['/auth/send-verification-email', { email: 'mute@example.com' }],
    ] as const) {
      const answer = await browser.json('POST', path, body);
      expect(answer, path).toMatchObject({ status: 403, body: { code: 'forbidden' } });
      expect(JSON.stringify(answer.body)).toContain('MAIL_KIND');
    }
    await mute.stop();
  });
});
