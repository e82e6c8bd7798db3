import { routes, type RouteName } from '@armature/sdk/contract';
import { Armature } from '@armature/sdk';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type SignedIn, type TestApi } from '../test/support/api.ts';
import { armSpec } from '../test/support/robots.ts';
import type { Browser } from '../test/support/people.ts';
import { byPerson } from './auth/people/limits.ts';

let api: TestApi;
let tenant: { id: string; key: string };
beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.tenant('people');
});
afterAll(async () => api.stop());

const shown = (browser: Browser, of?: string): SignedIn => ({
  cookies: browser.cookies,
  origin: browser.origin,
  tenant: of,
});
async function bucketsOf(of: string): Promise<string[]> {
  const rows = postgres(api.db.adminUrl, { max: 1 });
  const buckets = await rows<
    { name: string }[]
  >`select name from rate_buckets where tenant_id = ${of}`;
  await rows.end();
  return buckets.map(({ name }) => name);
}
const invite = async (email: string, key = tenant.key) =>
  (await api.must('invitations.create', key, { email, role: 'viewer' })).secret;

describe('a person', () => {
  it('is who is signed in, and a member of as many tenants as have invited', async () => {
    const browser = await api.person('ann@example.com');
    const alone = await api.must('account.get', shown(browser), {});
    expect(alone).toMatchObject({
      person: { email: 'ann@example.com', email_verified: true },
      memberships: [],
    });
    const other = await api.tenant('another');
    const first = await api.must('account.join', shown(browser), {
      invitation: await invite('Ann@Example.com'),
    });
    expect(first).toMatchObject({
      member: { email: 'ann@example.com', role: 'viewer', person_id: alone.person.id },
      key: null,
      secret: null,
    });
    const second = await api.must('account.join', shown(browser), {
      invitation: await invite('ann@example.com', other.key),
      with_key: true,
    });
    const current = await api.must('tenants.current', second.secret ?? '', {});
    expect(current.id).toBe(other.id);
    const { memberships } = await api.must('account.get', shown(browser), {});
    expect(memberships.map((each) => each.tenant)).toEqual(
      expect.arrayContaining([
        { id: tenant.id, name: 'people' },
        { id: other.id, name: 'another' },
      ]),
    );
    for (const { id } of [tenant, other]) {
      expect(await api.must('tenants.current', shown(browser, id), {})).toMatchObject({ id });
    }
  });

  it('joins by an invitation of the own address alone, while it is open', async () => {
    const [bob, eve] = [await api.person('bob@example.com'), await api.person('eve@example.com')];
    const invitation = await invite('bob@example.com');
    const refused = await api.call('account.join', shown(eve), { invitation });
    expect(refused).toMatchObject({ status: 403, problem: { field: 'invitation' } });
    const never = await api.call('account.join', shown(eve), {
      invitation: `${invitation.slice(0, -1)}${invitation.endsWith('0') ? '1' : '0'}`,
    });
    expect(never.problem).toEqual(refused.problem);
    const key = await api.call('account.join', shown(eve), { invitation: tenant.key });
    expect(key.problem).toEqual(refused.problem);
    api.clock.skewMs = 8 * 86_400_000;
    const late = await api.call('account.join', shown(bob), { invitation });
    api.clock.skewMs = 0;
    expect(late.problem).toEqual(refused.problem);
    await api.must('account.join', shown(bob), { invitation });
    const twice = await api.call('account.join', shown(bob), { invitation });
    expect(twice).toMatchObject({ status: 409, problem: { code: 'conflict' } });
    const taken = await invite('eve@example.com');
    await invite('eve@example.com');
    expect((await api.call('account.join', shown(eve), { invitation: taken })).status).toBe(403);
  });

  it('joins once for an idempotency key, with the same answer', async () => {
    const browser = await api.person('carl@example.com');
    const body = { invitation: await invite('carl@example.com'), with_key: true };
    const send = (more: object = {}) =>
      browser.json(
        'POST',
        '/v1/account/memberships',
        { ...body, ...more },
        {
          'idempotency-key': 'join-it-once',
          'x-request-id': 'a-request-of-carl',
        },
      );
    const answers = await Promise.all([send(), send(), send()]);
    const made = answers.filter(({ status }) => status === 200);
    expect(made.length).toBeGreaterThan(0);
    expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true);
    expect(await send()).toEqual(made[0]);
    expect(await send({ with_key: false })).toMatchObject({ status: 422 });
  });

  it('acts as a member, which the audit log says', async () => {
    const { id, browser } = await api.member(tenant.key, 'dora@example.com', 'engineer');
    const made = await api.must('embodiments.create', shown(browser, tenant.id), { spec: armSpec });
    const { items } = await api.must('audit.list', tenant.key, { subject: made.id });
    expect(items).toMatchObject([{ actor: id, verb: 'embodiments.create' }]);
    const joined = await api.must('audit.list', tenant.key, { subject: id });
    expect(joined.items[0]).toMatchObject({
      verb: 'account.join',
      actor: expect.stringMatching(/^per_/) as string,
      detail: { email: 'dora@example.com', role: 'engineer' },
    });
  });

  it('has another role, or none, with the next request', async () => {
    const { id, browser } = await api.member(tenant.key, 'emil@example.com', 'viewer');
    const creates = async () =>
      (await api.call('embodiments.create', shown(browser, tenant.id), { spec: armSpec })).status;
    expect(await creates()).toBe(403);
    await api.must('members.change', tenant.key, { id, role: 'engineer' });
    expect(await creates()).toBe(200);
    await api.must('members.change', tenant.key, { id, role: 'viewer' });
    expect(await creates()).toBe(403);
    await api.must('members.remove', tenant.key, { id });
    const read = await api.call('tenants.current', shown(browser, tenant.id), {});
    expect(read).toMatchObject({ status: 403, problem: { field: 'armature-tenant' } });
    const { memberships } = await api.must('account.get', shown(browser), {});
    expect(memberships).toEqual([]);
    const back = { invitation: await invite('emil@example.com') };
    const { member } = await api.must('account.join', shown(browser), back);
    expect(member.id).not.toBe(id);
  });

  it('is counted by the tenant’s rate, and by a limit of its own without one', async () => {
    const browser = await api.person('fritz@example.com');
    const { person } = await api.must('account.get', shown(browser), {});
    const rows = postgres(api.db.adminUrl, { max: 1 });
    const counted = await rows`
      update identity.attempts set count = ${byPerson.max}, until = now() + interval '1 hour'
      where key = ${`person ${person.id}`}`;
    await rows.end();
    expect(counted.count).toBe(1);
    const refused = await api.call('account.get', shown(browser), {});
    expect(refused).toMatchObject({ status: 429, problem: { limit: 'requests_per_person' } });
    const { browser: member } = await api.member(tenant.key, 'ida@example.com', 'viewer');
    await api.must('tenants.current', shown(member, tenant.id), {});
    const buckets = await bucketsOf(tenant.id);
    expect(buckets).toContainEqual(expect.stringMatching(/^requests:mem_/));
  });

  it('uses the SDK’s client on a page', async () => {
    const { browser } = await api.member(tenant.key, 'gerda@example.com', 'viewer');
    /** A browser's fetch: cookies and origin are not for a page to leave out. */
    const asPage: typeof fetch = (url, init) => {
      expect(init?.credentials).toBe('include');
      const headers = new Headers(init?.headers);
      headers.set('cookie', browser.cookies);
      headers.set('origin', browser.origin ?? '');
      return fetch(url, { ...init, headers });
    };
    const client = (of?: string) =>
      new Armature({
        apiUrl: api.url,
        signedIn: of === undefined ? {} : { tenant: of },
        fetch: asPage,
      });
    const { memberships } = await client().account.get();
    expect(memberships).toHaveLength(1);
    expect((await client(tenant.id).tenants.current()).id).toBe(tenant.id);
    const refusal = client(tenant.id).embodiments.create({ spec: armSpec });
    await expect(refusal).rejects.toMatchObject({ code: 'forbidden' });
  });
});

describe('verbs of a person', () => {
  const own = (Object.keys(routes) as RouteName[]).filter(
    (name) => routes[name].scope === 'person',
  );
  it.each(own)('%s is for no key', async (name) => {
    const answer = await api.call(name, tenant.key, {});
    expect(answer).toMatchObject({ status: 403, problem: { code: 'forbidden' } });
  });
});
