import { roleScopes, type Role, type Scope } from '@armature/sdk/contract';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestFor, startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec } from '../test/support/robots.ts';

let api: TestApi;
let admin: string;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => api.stop());

const invite = (email: string, role: Role, expires_in_s?: number) =>
  api.must('invitations.create', admin, {
    email,
    role,
    ...(expires_in_s === undefined ? {} : { expires_in_s }),
  });
const accept = (secret: string) => api.call('invitations.accept', secret, {});
async function join(email: string, role: Role) {
  const { secret } = await invite(email, role);
  return api.must('invitations.accept', secret, {});
}
const statusOf = async (key: string) => (await api.call('tenants.current', key, {})).status;
const listed = async (id: string) =>
  (await api.must('keys.list', admin, { limit: 200 })).items.find((key) => key.id === id);

describe('an invitation', () => {
  beforeAll(async () => {
    ({ key: admin } = await api.tenant('invites'));
  });

  it('makes one member, in its tenant, with the address in lower case', async () => {
    const { invitation, secret } = await invite('Ann@Example.COM', 'viewer');
    expect(invitation).toMatchObject({ email: 'ann@example.com', accepted_at: null });
    const made = await accept(secret);
    expect(made.ok).toMatchObject({
      member: { email: 'ann@example.com', role: 'viewer', removed_at: null },
      key: { scopes: ['read'], member_id: made.ok?.member.id },
    });
    expect(await statusOf(made.ok?.secret ?? '')).toBe(200);
    const { items } = await api.must('invitations.list', admin, {});
    expect(items[0]).toMatchObject({ id: invitation.id, member_id: made.ok?.member.id });
    expect(await accept(secret)).toMatchObject({ status: 409, problem: { code: 'conflict' } });
  });

  it('is used once however many accept at once', async () => {
    const { secret } = await invite('twins@example.com', 'viewer');
    const answers = await Promise.all(Array.from({ length: 8 }, () => accept(secret)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(409)]);
    const { items } = await api.must('members.list', admin, {});
    expect(items.filter(({ email }) => email === 'twins@example.com')).toHaveLength(1);
  });

  it('gives the same answer to the same request again', async () => {
    const { secret } = await invite('again@example.com', 'viewer');
    const send = async () => {
      const [url, request] = requestFor(api.url, 'invitations.accept', secret, {});
      const headers = { ...(request.headers as object), 'idempotency-key': 'accept-it-once' };
      const answer = await fetch(url, { ...request, headers });
      return { status: answer.status, body: await answer.text() };
    };
    const first = await send();
    expect(first.status).toBe(200);
    expect(await send()).toEqual(first);
  });

  it('ends when it expires, is revoked, or another takes its place', async () => {
    const late = await invite('late@example.com', 'viewer', 60);
    api.clock.skewMs = 61_000;
    expect(await accept(late.secret)).toMatchObject({
      status: 401,
      problem: { code: 'expired_key' },
    });
    api.clock.skewMs = 0;
    const first = await invite('late@example.com', 'viewer');
    const second = await invite('late@example.com', 'operator');
    expect(await accept(first.secret)).toMatchObject({ status: 401 });
    await api.must('invitations.revoke', admin, { id: second.invitation.id });
    await api.must('invitations.revoke', admin, { id: second.invitation.id });
    expect(await accept(second.secret)).toMatchObject({ status: 401 });
    const third = await invite('late@example.com', 'viewer');
    expect((await accept(third.secret)).status).toBe(200);
    const revoke = await api.call('invitations.revoke', admin, { id: third.invitation.id });
    expect(revoke).toMatchObject({ status: 409 });
  });

  it('that another process saw before it was revoked makes nobody a member', async () => {
    const { invitation, secret } = await invite('seen@example.com', 'viewer');
    expect((await api.call('tenants.current', secret, {})).status).toBe(403);
    const sql = postgres(api.db.adminUrl, { max: 1 });
    await sql`update invitations set revoked_at = now() where id = ${invitation.id}`;
    await sql.end();
    expect(await accept(secret)).toMatchObject({ status: 409, problem: { code: 'conflict' } });
  });

  it('is not for a member, and not for what is no address', async () => {
    const again = { email: 'ANN@example.com', role: 'owner' as const };
    const refused = await api.call('invitations.create', admin, again);
    expect(refused).toMatchObject({ status: 409, problem: { field: 'email' } });
    const none = await api.call('invitations.create', admin, { email: 'ann', role: 'viewer' });
    expect(none).toMatchObject({ status: 400, problem: { field: 'email' } });
  });

  it('is nowhere but in its answer', async () => {
    const { secret } = await invite('secret@example.com', 'viewer');
    const sql = postgres(api.db.adminUrl, { max: 1 });
    const rows = await sql`select i::text as row from invitations i
      union all select a::text from audit_log a`;
    await sql.end();
    const kept = JSON.stringify(rows) + (await api.log()).join('\n');
    expect(kept).toContain('secret@example.com');
    expect(kept).not.toContain(secret);
    expect(kept).not.toContain(Buffer.from(secret).toString('hex'));
  });

  it('uploads nothing and opens no session', async () => {
    const { secret } = await invite('doors@example.com', 'owner');
    const headers = { authorization: `Bearer ${secret}` };
    const put = await fetch(new URL('/store/a/b', api.url), { method: 'PUT', headers, body: 'x' });
    expect(put.ok).toBe(false);
    const session = await api.call('sessions.create', secret, { robot: 'r', embodiment_id: 'emb' });
    expect(session).toMatchObject({ status: 403 });
  });
});

describe('a role', () => {
  beforeAll(async () => {
    ({ key: admin } = await api.tenant('roles'));
  });

  it('is what a member’s key may do, asked of a verb of every scope', async () => {
    const { id } = await api.must('embodiments.create', admin, { spec: armSpec });
    const robot = { robot: 'r', embodiment_id: id };
    /** By the table in the house's design, not by the code's. */
    const may: Record<Role, Record<Scope, boolean>> = {
      owner: { admin: true, write: true, read: true, robot: true },
      engineer: { admin: false, write: true, read: true, robot: true },
      operator: { admin: false, write: false, read: true, robot: true },
      viewer: { admin: false, write: false, read: true, robot: false },
    };
    for (const role of Object.keys(roleScopes) as Role[]) {
      const { secret } = await join(`${role}@example.com`, role);
      const answers = {
        admin: await api.call('members.list', secret, {}),
        write: await api.call('embodiments.create', secret, { spec: armSpec }),
        read: await api.call('embodiments.list', secret, {}),
        robot: await api.call('sessions.create', secret, robot),
      };
      const allowed = Object.entries(answers).map(([scope, { status }]) => [scope, status !== 403]);
      expect(Object.fromEntries(allowed), role).toEqual(may[role]);
    }
  });

  it('changes with the member’s keys, rotated ones too', async () => {
    const { member, key, secret } = await join('promoted@example.com', 'viewer');
    const rotated = await api.must('keys.rotate', admin, { id: key.id });
    expect(rotated.key.member_id).toBe(member.id);
    const creates = async (by: string) =>
      (await api.call('embodiments.create', by, { spec: armSpec })).status;
    expect([await creates(secret), await creates(rotated.secret)]).toEqual([403, 403]);
    await api.must('members.change', admin, { id: member.id, role: 'engineer' });
    api.othersLearn();
    expect([await creates(secret), await creates(rotated.secret)]).toEqual([200, 200]);
    await api.must('members.change', admin, { id: member.id, role: 'viewer' });
    api.othersLearn();
    expect([await creates(secret), await creates(rotated.secret)]).toEqual([403, 403]);
    expect(await listed(rotated.key.id)).toMatchObject({ scopes: ['read'] });
  });
});

describe('removing a member', () => {
  beforeAll(async () => {
    ({ key: admin } = await api.tenant('removes'));
  });

  it('ends every key of the member, and the person can be invited again', async () => {
    const { member, key, secret } = await join('gone@example.com', 'engineer');
    expect(await statusOf(secret)).toBe(200);
    const removed = await api.must('members.remove', admin, { id: member.id });
    expect(removed.removed_at).not.toBeNull();
    api.othersLearn();
    expect(await api.must('members.remove', admin, { id: member.id })).toEqual(removed);
    expect(await statusOf(secret)).toBe(401);
    expect((await listed(key.id))?.revoked_at).not.toBeNull();
    const change = await api.call('members.change', admin, { id: member.id, role: 'owner' });
    expect(change).toMatchObject({ status: 409 });
    const back = await join('gone@example.com', 'viewer');
    expect(back.member.id).not.toBe(member.id);
    expect(await statusOf(secret)).toBe(401);
  });

  it('leaves an owner, also when two owners let each other go', async () => {
    const one = await join('one@example.com', 'owner');
    const alone = await api.call('members.remove', admin, { id: one.member.id });
    expect(alone).toMatchObject({ status: 409, problem: { field: 'id' } });
    const demoted = { id: one.member.id, role: 'viewer' as const };
    expect(await api.call('members.change', admin, demoted)).toMatchObject({ status: 409 });
    const two = await join('two@example.com', 'owner');
    const answers = await Promise.all([
      api.call('members.remove', two.secret, { id: one.member.id }),
      api.call('members.change', one.secret, { id: two.member.id, role: 'viewer' }),
    ]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const { items } = await api.must('members.list', admin, {});
    const owners = items.filter(({ role, removed_at }) => role === 'owner' && removed_at === null);
    expect(owners).toHaveLength(1);
  });
});

describe('rotating a member’s key while the member', () => {
  const PAIRS = 24;
  beforeAll(async () => {
    ({ key: admin } = await api.tenant('rotates'));
    await join('stays@example.com', 'owner');
  });
  /** The answers of both, and what the key that the rotation made may do then. */
  async function atOnce(email: string, other: (id: string) => Promise<{ status: number }>) {
    const { member, key, secret } = await join(email, 'owner');
    const [rotated, done] = await Promise.all([
      api.call('keys.rotate', secret, { id: key.id }),
      other(member.id),
    ]);
    expect(done.status).toBe(200);
    // Refused where the other was first: the key has ended, or may no more.
    if (rotated.ok === undefined) return expect([401, 403, 409]).toContain(rotated.status);
    const { status } = await api.call('members.list', rotated.ok.secret, {});
    return expect([401, 403]).toContain(status);
  }

  it('is removed leaves no key that works', async () => {
    for (let i = 0; i < PAIRS; i += 1) {
      await atOnce(`gone${i}@example.com`, (id) => api.call('members.remove', admin, { id }));
    }
  });

  it('becomes a viewer leaves no key of an owner', async () => {
    for (let i = 0; i < PAIRS; i += 1) {
      const change = (id: string) => api.call('members.change', admin, { id, role: 'viewer' });
      await atOnce(`less${i}@example.com`, change);
    }
  });
});
