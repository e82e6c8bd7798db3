import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../test/support/postgres.ts';
import { identityAdapter, sweepIdentity, takeAttempt } from './identity.ts';
import { DatabaseError } from './errors.ts';

let server: TestPostgres;
let database: TestDatabase;
let rows: Sql;
beforeAll(async () => {
  server = await startTestPostgres();
  database = await server.database();
  rows = postgres(database.adminUrl, { max: 1 });
});
afterAll(async () => {
  await rows.end();
  await server.stop();
});

describe('attempts', () => {
  const rule = { windowS: 600, max: 10 };

  it('are as many as the rule allows, however many come at once', async () => {
    const tries = Array.from({ length: 40 }, () => takeAttempt(database.app, 'crowd', rule));
    const waits = await Promise.all(tries);
    expect(waits.filter((wait) => wait === null)).toHaveLength(10);
    for (const wait of waits) if (wait !== null) expect(wait).toBeGreaterThan(500);
    expect(await takeAttempt(database.app, 'another', rule)).toBeNull();
  });

  it('are allowed again once the window is over, which refused ones do not move', async () => {
    const [before] = await rows`select until from identity.attempts where key = 'crowd'`;
    await takeAttempt(database.app, 'crowd', rule);
    const [after] = await rows`select until from identity.attempts where key = 'crowd'`;
    expect(after).toEqual(before);
    await rows`update identity.attempts set until = now() where key = 'crowd'`;
    expect(await takeAttempt(database.app, 'crowd', rule)).toBeNull();
    const [counted] = await rows`select count from identity.attempts where key = 'crowd'`;
    expect(counted).toEqual({ count: 1 });
  });
});

describe('what has expired', () => {
  it('is taken away, and what has not stays', async () => {
    await rows`insert into identity.people (id, name, email) values ('per_1', 'Ann', 'ann@example.com')`;
    for (const [id, life] of [
      ['old', '-1 second'],
      ['new', '1 hour'],
    ] as const) {
      await rows`insert into identity.sign_ins (id, person_id, token, expires_at) values (${id}, 'per_1', ${id}, now() + ${life}::interval)`;
      await rows`insert into identity.verifications (id, identifier, value, expires_at) values (${id}, ${id}, '', now() + ${life}::interval)`;
      await rows`insert into identity.attempts (key, count, until) values (${id}, 1, now() + ${life}::interval)`;
    }
    await sweepIdentity(database.app);
    const left = await rows<{ id: string }[]>`
      select id from identity.sign_ins union all select id from identity.verifications
      union all select key from identity.attempts where key in ('old', 'new')`;
    expect(left.map(({ id }) => id)).toEqual(['new', 'new', 'new']);
  });
});

describe('people', () => {
  it('are out of reach of workers', async () => {
    const worker = postgres(database.workerUrl, { max: 1 });
    for (const statement of [
      'select from identity.people',
      'select from identity.sign_ins',
      "select armature_tenants_of('per_1')",
      'set role armature_system; select from identity.people',
      'set role armature_system; select email from members',
    ]) {
      await expect(worker.unsafe(statement), statement).rejects.toMatchObject({ code: '42501' });
      await worker.unsafe('reset role');
    }
    await worker.end();
  });

  it('fail without their values in the error, within a transaction too', async () => {
    const adapter = (await identityAdapter(database.app))({});
    const data = { name: 'Ann', email: 'ann@example.com', emailVerified: false };
    const twice = adapter.create({ model: 'user', data });
    await expect(twice).rejects.toThrow(DatabaseError);
    await expect(twice).rejects.not.toThrow(/ann@example/);
    const within = adapter.transaction((tx) => tx.create({ model: 'user', data }));
    await expect(within).rejects.toThrow(DatabaseError);
  });

  it('have no token of a provider’s kept', async () => {
    const insert = rows`
      insert into identity.accounts (id, person_id, provider_id, account_id, id_token)
      values ('acc_1', 'per_1', 'oidc', 'x', 'a token')`;
    await expect(insert).rejects.toMatchObject({ code: '23514' });
  });
});
