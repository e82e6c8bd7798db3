import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestPostgres, type TestPostgres } from '../test/support/postgres.ts';
import { readMigrations } from './migrate.ts';
import { ensureDatabase } from './roles.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(async () => server.stop());

/** A database as it was before migration `number`. */
async function before(number: number): Promise<{ client: Sql; rest: () => Promise<void> }> {
  const url = await ensureDatabase(server.adminUrl, `before_${number}`);
  const client = postgres(url, { max: 1, onnotice: () => undefined });
  const migrations = await readMigrations();
  const apply = async (which: typeof migrations): Promise<void> => {
    for (const { text } of which) await client.begin((sql) => sql.unsafe(text));
  };
  await apply(migrations.filter((one) => one.number < number));
  return { client, rest: () => apply(migrations.filter((one) => one.number >= number)) };
}

describe('migrations of rows that are there', () => {
  it('give fine-tunes, webhooks and data sets the states that there are now', async () => {
    const { client, rest } = await before(16);
    await client`insert into tenants (id, name) values ('ten_1', 't')`;
    await client`insert into embodiments (tenant_id, id, spec) values ('ten_1', 'emb_1', '{}')`;
    const sets = ['uploading', 'validating', 'ready', 'rejected'];
    for (const status of sets) {
      await client`
        insert into datasets (tenant_id, id, embodiment_id, name, status, prefix, bytes, files)
        values ('ten_1', ${`ds_${status}`}, 'emb_1', 'd', ${status}, 'p', 1, 1)`;
    }
    const mend = { code: 'invalid_dataset', message: 'm', field: 'dataset_id', fix: 'f' };
    const ours = { code: 'internal', message: 'm', fix: 'f' };
    const jobs = [
      ['preparing', null, 'running'],
      ['training', null, 'running'],
      ['evaluating', null, 'evaluating'],
      ['paused', null, 'paused'],
      ['succeeded', null, 'succeeded'],
      ['failed', mend, 'user_error'],
      ['failed', ours, 'failed'],
      ['failed', null, 'failed'],
    ] as const;
    for (const [i, [status, error]] of jobs.entries()) {
      await client`
        insert into finetunes (tenant_id, id, name, embodiment_id, dataset_id, options, status, error)
        values ('ten_1', ${`ft_${i}`}, 'f', 'emb_1', 'ds_ready', '{}', ${status},
          ${error === null ? null : client.json(error)})`;
    }
    const all = 'finetune.';
    const hooks = [
      [
        ['preparing', 'training', 'failed'],
        ['running', 'failed'],
      ],
      [['training'], ['running']],
      [
        ['queued', 'preparing'],
        ['queued', 'running'],
      ],
    ] as const;
    for (const [i, [events]] of hooks.entries()) {
      await client`
        insert into webhook_endpoints (tenant_id, id, url, events, sealed_secret)
        values ('ten_1', ${`wh_${i}`}, 'u', ${events.map((event) => all + event)}, 's')`;
    }
    await client`
      insert into webhook_deliveries (tenant_id, id, endpoint_id, event, payload)
      values ('ten_1', 'whd_1', 'wh_1', 'finetune.training', '{}')`;

    await rest();
    const states = await client<{ status: string }[]>`select status from finetunes order by id`;
    expect(states.map(({ status }) => status)).toEqual(jobs.map(([, , status]) => status));
    const kept = await client<{ events: string[] }[]>`
      select events from webhook_endpoints order by id`;
    expect(kept.map(({ events }) => events)).toEqual(
      hooks.map(([, events]) => events.map((event) => all + event)),
    );
    // Nobody is told of what a migration did.
    const told = await client<{ event: string }[]>`select event from webhook_deliveries`;
    expect(told.map(({ event }) => event)).toEqual(['finetune.running']);
    const quarantine = await client<{ id: string; days: number }[]>`
      select id, round(extract(epoch from quarantined_until - now()) / 86400)::integer as days
      from datasets where quarantined_until is not null`;
    expect(quarantine.map((row) => ({ ...row }))).toEqual([{ id: 'ds_rejected', days: 30 }]);
    await client.end();
  });

  it('make each key the first of its line', async () => {
    const { client, rest } = await before(23);
    await client`insert into tenants (id, name) values ('ten_1', 't')`;
    for (const id of ['key_1', 'key_2']) {
      await client`
        insert into api_keys (tenant_id, id, name, start, hash, scopes)
        values ('ten_1', ${id}, 'k', 'ark', ${Buffer.from(id)}, '{read}')`;
    }
    await rest();
    const keys = await client<{ id: string; lineage: string }[]>`
      select id, lineage from api_keys order by id`;
    expect(keys.map(({ id, lineage }) => [id, lineage])).toEqual([
      ['key_1', 'key_1'],
      ['key_2', 'key_2'],
    ]);
    await client.end();
  });

  it('let sessions that are open count by what they were served since', async () => {
    const { client, rest } = await before(24);
    await client`insert into tenants (id, name) values ('ten_1', 't')`;
    await client`insert into embodiments (tenant_id, id, spec) values ('ten_1', 'emb_1', '{}')`;
    await client`
      insert into policy_versions (id, tenant_id, embodiment_id, name, digest, prefix, stats_hash,
        preprocess_hash, mode, sampler, bytes)
      values ('pv_1', 'ten_1', 'emb_1', 'v', 'd', 'p', 's', 'p', 'head', '{}', 1)`;
    const open = (id: string) => client`
      insert into sessions (id, tenant_id, robot, embodiment_id, policy_version_id, options, worker_id)
      values (${id}, 'ten_1', 'r', 'emb_1', 'pv_1', '{}', 'serve-1')`;
    await open('ses_before');
    await rest();
    await open('ses_since');
    const rows = await client<{ id: string; minutes: number }[]>`
      select id, floor(extract(epoch from now() - granted_at) / 60)::integer as minutes
      from sessions order by id`;
    const [old, since] = rows;
    expect(old?.minutes).toBeGreaterThanOrEqual(10);
    expect(since?.minutes).toBeLessThan(10);
    await client.end();
  });

  it('put jobs that wait into the queue', async () => {
    const { client, rest } = await before(25);
    await client`insert into tenants (id, name) values ('ten_1', 't')`;
    for (const status of ['queued', 'running', 'paused', 'succeeded']) {
      await client`
        insert into jobs (id, tenant_id, kind, subject_id, status, run_at)
        values (${`job_${status}`}, 'ten_1', 'ingest', ${`ds_${status}`}, ${status}, '2030-01-01Z')`;
    }
    await rest();
    const pieces = await client<{ name: string; data: unknown; at: Date }[]>`
      select name, data, start_after as at from pgboss.job`;
    expect(pieces.map((piece) => ({ ...piece }))).toEqual([
      {
        name: 'ingest',
        data: { tenant_id: 'ten_1', job_id: 'job_queued' },
        at: new Date('2030-01-01Z'),
      },
    ]);
    const open = await client`
      select relname from pg_class where relname in ('jobs', 'job') and not relforcerowsecurity`;
    expect(open).toHaveLength(0);
    await client.end();
  });
});
