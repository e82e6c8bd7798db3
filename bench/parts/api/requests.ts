import { randomUUID } from 'node:crypto';
import type { Armature } from '@armature/sdk';
import postgres, { type Sql, type TransactionSql } from 'postgres';
import type { Figure } from '../../result.ts';
import { latencyFigures, timed } from '../../timing.ts';
import { spec } from '../serve/fleet.ts';

/** Requests at a time where a rate is measured. */
const TOGETHER = 16;
const WARMUP = 10;
const ROWS = 100;

interface Compared {
  readonly name: string;
  readonly api: () => Promise<unknown>;
  readonly byHand: (sql: TransactionSql) => Promise<unknown>;
}

export interface RequestOptions {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly client: Armature;
  readonly tenant: string;
  /** As the API's own role. */
  readonly databaseUrl: string;
  readonly size: { readonly alone: number; readonly together: number };
}

/** Main reads and writes, each beside its statements by hand in one transaction of the tenant. */
export async function measureRequests(
  o: RequestOptions,
): Promise<{ figures: Figure[]; ratios: Record<string, number> }> {
  const sql = postgres(o.databaseUrl, { max: TOGETHER, onnotice: () => undefined });
  try {
    const figures: Figure[] = [];
    const ratios: Record<string, number> = {};
    for (const { name, api, byHand } of await comparisons(o)) {
      const hand = () => inTenant(sql, o.tenant, byHand);
      // One after the other in one run, so that both meet the same machine.
      figures.push(...latencyFigures(`${name}, API`, await timed(o.size.alone, WARMUP, api)));
      figures.push(...latencyFigures(`${name}, by hand`, await timed(o.size.alone, WARMUP, hand)));
      const [ours, theirs] = [
        await rateOf(o.size.together, api),
        await rateOf(o.size.together, hand),
      ];
      ratios[name] = ours / theirs;
      figures.push(
        { name: `${name}, API`, value: ours, unit: 'requests/s' },
        { name: `${name}, by hand`, value: theirs, unit: 'requests/s' },
        { name: `${name} ratio`, value: ours / theirs, unit: '' },
      );
    }
    return { figures, ratios };
  } finally {
    await sql.end();
  }
}

async function comparisons({
  apiUrl,
  apiKey,
  client,
  tenant,
}: RequestOptions): Promise<Compared[]> {
  const authorization = `Bearer ${apiKey}`;
  const ask = async (path: string, body?: object): Promise<unknown> => {
    const answer = await fetch(new URL(path, apiUrl), {
      headers: {
        authorization,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${text}`);
    return JSON.parse(text);
  };
  const { id: embodiment } = await client.embodiments.create({ spec });
  for (let i = 1; i < ROWS; i++) await client.embodiments.create({ spec });
  const file = { path: 'data', size: 1, sha256: '0'.repeat(64) };
  const set = { name: 'bench', embodiment_id: embodiment, files: [file] };
  const { dataset } = await client.datasets.create(set);
  const note = (sql: TransactionSql, verb: string, subject: string) => sql`
    insert into audit_log (id, tenant_id, actor, verb, subject_id, request_id)
    values (${`aud_${randomUUID()}`}, ${tenant}, 'bench', ${verb}, ${subject}, 'bench')`;
  return [
    {
      name: 'embodiments.get',
      api: () => ask(`/v1/embodiments/${embodiment}`),
      byHand: (sql) =>
        sql`select * from embodiments where tenant_id = ${tenant} and id = ${embodiment}`,
    },
    {
      name: 'embodiments.list',
      api: () => ask('/v1/embodiments?limit=50'),
      byHand: (sql) => sql`
        select * from embodiments where tenant_id = ${tenant}
        order by created_at desc, id desc limit 51`,
    },
    {
      name: 'datasets.get',
      api: () => ask(`/v1/datasets/${dataset.id}`),
      byHand: (sql) =>
        sql`select * from datasets where tenant_id = ${tenant} and id = ${dataset.id}`,
    },
    {
      name: 'embodiments.create',
      api: () => ask('/v1/embodiments', { spec }),
      byHand: async (sql) => {
        const id = `emb_${randomUUID()}`;
        await sql`
          insert into embodiments (id, tenant_id, spec)
          values (${id}, ${tenant}, ${sql.json(JSON.parse(JSON.stringify(spec)) as never)}) returning *`;
        await note(sql, 'embodiments.create', id);
      },
    },
    {
      name: 'datasets.create',
      api: () => ask('/v1/datasets', set),
      byHand: async (sql) => {
        const id = `ds_${randomUUID()}`;
        await sql`select coalesce(sum(bytes), 0) from datasets where tenant_id = ${tenant}`;
        await sql`select * from embodiments where tenant_id = ${tenant} and id = ${embodiment}`;
        await sql`
          insert into datasets (id, tenant_id, embodiment_id, name, status, prefix, bytes, files)
          values (${id}, ${tenant}, ${embodiment}, 'bench', 'uploading', ${id}, 1, 1) returning *`;
        await sql`
          insert into dataset_files (tenant_id, dataset_id, path, size, sha256)
          values (${tenant}, ${id}, ${file.path}, ${file.size}, ${file.sha256})`;
        await note(sql, 'datasets.create', id);
      },
    },
  ];
}

/** One transaction of the tenant, as the API opens it. */
async function inTenant(
  sql: Sql,
  tenant: string,
  work: (sql: TransactionSql) => Promise<unknown>,
): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`select set_config('app.tenant_id', ${tenant}, true), set_config('statement_timeout', '30000', true)`;
    await work(tx);
  });
}

/** Calls a second, `TOGETHER` at a time. */
async function rateOf(count: number, call: () => Promise<unknown>): Promise<number> {
  // Every connection is open before the clock starts.
  await Promise.all(Array.from({ length: TOGETHER }, call));
  let left = count;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: TOGETHER }, async () => {
      while (left-- > 0) await call();
    }),
  );
  return (count * 1000) / (performance.now() - started);
}
