import PgBoss from 'pg-boss';
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../test/support/postgres.ts';
import { connect, withSystem, withTenant } from './connection.ts';
import { ensureDatabase } from './roles.ts';
import { sql } from './index.ts';
import { Queue } from './queue.ts';
import type { QueuedWork } from './queued-work.ts';

let server: TestPostgres;
let db: TestDatabase;
let admin: Sql;
let queue: Queue;
const failures: unknown[] = [];

beforeAll(async () => {
  server = await startTestPostgres();
});
beforeEach(async () => {
  db = await server.database();
  admin = postgres(db.adminUrl, { max: 1 });
  queue = await Queue.open(db.worker, { onError: (error) => failures.push(error) });
});
afterEach(async () => {
  await queue.close();
  await admin.end();
});
afterAll(async () => {
  await server.stop();
  expect(failures).toEqual([]);
});

const send = (key = 'a', seconds = 3_600) =>
  queue.sendEvery('sweep', { sweep: key }, { key, seconds });
async function taken(): Promise<QueuedWork<'sweep'>> {
  const work = await queue.take('sweep');
  if (work === null) throw new Error('nothing to take');
  return work;
}
const stateOf = async (id: string) =>
  (await admin<{ state: string }[]>`select state from pgboss.job where id = ${id}`)[0]?.state;
const makeDue = () =>
  admin`update pgboss.job set start_after = now() - interval '1 second' where state < 'active'`;

describe('the queue', () => {
  it('gives work to one worker, and again to none once it is done', async () => {
    expect(await queue.take('sweep')).toBeNull();
    await send();
    const both = await Promise.all([queue.take('sweep'), queue.take('sweep')]);
    const [work] = both.filter((one) => one !== null);
    expect(both.filter((one) => one !== null)).toHaveLength(1);
    if (work === undefined) throw new Error('nobody has it');
    expect(work).toMatchObject({ queue: 'sweep', data: { sweep: 'a' }, isLast: false });
    expect(work.expiresInMs).toBe(900_000);
    await queue.complete(work);
    expect(await queue.take('sweep')).toBeNull();
    expect(await stateOf(work.id)).toBe('completed');
  });

  it('takes work once a period, however many ask', async () => {
    const asked = await Promise.all(Array.from({ length: 8 }, () => send('a')));
    expect(asked.filter(Boolean)).toHaveLength(1);
    expect(await send('b')).toBe(true);
    await queue.complete(await taken());
    expect(await send('a')).toBe(false);
  });

  it('tries failed work again later, a few times', async () => {
    await send();
    for (let tries = 0; tries < 4; tries++) {
      const work = await taken();
      expect(work.isLast).toBe(tries === 3);
      await queue.fail(work, 'for a test');
      expect(await queue.take('sweep')).toBeNull();
      expect(await stateOf(work.id)).toBe(tries === 3 ? 'failed' : 'retry');
      await makeDue();
    }
    expect(await queue.take('sweep')).toBeNull();
  });

  it('finds the work of a worker that was lost, and no sooner', async () => {
    await send();
    const lost = await taken();
    await queue.supervise();
    expect(await stateOf(lost.id)).toBe('active');
    await admin`update pgboss.job set started_on = started_on - interval '901 seconds'`;
    await queue.supervise();
    expect(await stateOf(lost.id)).toBe('retry');
    await makeDue();
    expect((await taken()).id).toBe(lost.id);
  });

  it('ends work with the transaction that it is ended in, or not at all', async () => {
    await send();
    const work = await taken();
    const undone = withSystem(db.worker, 'test', async (tx) => {
      await queue.complete(work, tx);
      throw new Error('undone');
    });
    await expect(undone).rejects.toThrow('undone');
    expect(await stateOf(work.id)).toBe('active');
  });

  it('shows a tenant its own work alone, and lets it send in its own name alone', async () => {
    const sendAs = (tenant: string, named: string, role: 'app' | 'worker') =>
      withTenant(db[role], tenant, (tx) =>
        tx.execute(sql`insert into pgboss.job (name, data)
          values ('webhook', jsonb_build_object('tenant_id', ${named}::text))`),
      );
    await sendAs('ten_a', 'ten_a', 'app');
    await sendAs('ten_b', 'ten_b', 'worker');
    await send();
    for (const role of ['app', 'worker'] as const) {
      await expect(sendAs('ten_a', 'ten_b', role)).rejects.toThrow('42501');
    }
    const seen = await withTenant(db.worker, 'ten_a', (tx) =>
      tx.execute<{ tenant: string }>(sql`select data->>'tenant_id' as tenant from pgboss.job`),
    );
    expect([...seen]).toEqual([{ tenant: 'ten_a' }]);
    const looking = withTenant(db.app, 'ten_a', (tx) =>
      tx.execute(sql`select data from pgboss.job`),
    );
    await expect(looking).rejects.toThrow('42501');
    const [{ partition } = { partition: '' }] = await admin<{ partition: string }[]>`
      select partition_name as partition from pgboss.queue where name = 'webhook'`;
    const around = withTenant(db.worker, 'ten_a', (tx) =>
      tx.execute(sql`select data from pgboss.${sql.identifier(partition)}`),
    );
    await expect(around).rejects.toThrow('42501');
  });

  it('says so when the database does not answer', async () => {
    const gone = connect('postgres://armature_worker@127.0.0.1:1/none', { max: 1 });
    await expect(Queue.open(gone, { onError: () => undefined })).rejects.toThrow();
    await gone.close();
    await admin`revoke select on pgboss.job from armature_system`;
    await expect(queue.take('sweep')).rejects.toThrow('42501');
  });

  it('has the tables that the library would make itself', async () => {
    const bare = await ensureDatabase(server.adminUrl, 'pgboss_alone');
    const boss = new PgBoss({ connectionString: bare, schedule: false, supervise: false });
    await boss.start();
    for (const name of ['webhook', 'sweep', 'ingest', 'finetune']) await boss.createQueue(name);
    await boss.stop({ graceful: false });
    const own = postgres(bare, { max: 1 });
    expect(await shapeOf(admin)).toEqual(await shapeOf(own));
    await own.end();
  });
});

/** Columns, indexes, constraints, functions and version of the queue's schema. */
async function shapeOf(client: Sql): Promise<string[]> {
  const rows = await client<{ line: string }[]>`
    select format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default) as line
      from information_schema.columns where table_schema = 'pgboss'
    union all select indexdef from pg_indexes where schemaname = 'pgboss'
    union all select conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint
      where connamespace = 'pgboss'::regnamespace
    union all select proname || regexp_replace(prosrc, '\\s+', ' ', 'g') from pg_proc
      where pronamespace = 'pgboss'::regnamespace
    union all select 'version ' || version from pgboss.version
    order by 1`;
  return rows.map(({ line }) => line);
}
