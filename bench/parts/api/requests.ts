import { randomUUID } from 'node:crypto';
import type { Armature } from '@armature/sdk';
import postgres, { type Sql, type TransactionSql } from 'postgres';
import type { Figure } from '../../result.ts';
import { latencyFigures, quantile, timed } from '../../timing.ts';
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
  /** With a deployed version. */
  readonly embodiment: string;
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
      const ours = await rateOf(o.size.together, api);
      const theirs = await rateOf(o.size.together, hand);
      ratios[name] = ours.perSecond / theirs.perSecond;
      for (const [who, rate] of [
        ['API', ours],
        ['by hand', theirs],
      ] as const) {
        const together = `${name}, ${who}, ${TOGETHER} at a time`;
        figures.push({ name: together, value: rate.perSecond, unit: 'requests/s' });
        figures.push({ name: `${together} p99`, value: rate.p99, unit: 'ms' });
      }
      figures.push({ name: `${name} ratio`, value: ours.perSecond / theirs.perSecond, unit: '' });
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
  embodiment,
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
      name: 'datasets.list',
      api: () => ask('/v1/datasets?limit=50'),
      byHand: (sql) => sql`
        select * from datasets where tenant_id = ${tenant}
        order by created_at desc, id desc limit 51`,
    },
    {
      name: 'sessions.create',
      api: () => ask('/v1/sessions', { robot: 'bench', embodiment_id: embodiment }),
      byHand: async (sql) => {
        const id = `ses_${randomUUID()}`;
        await sql`select count(*) from sessions where tenant_id = ${tenant} and ended_at is null`;
        const [found] = await sql<{ active_policy_version_id: string }[]>`
          select * from embodiments where tenant_id = ${tenant} and id = ${embodiment}`;
        const version = found?.active_policy_version_id ?? '';
        await sql`select * from policy_versions where tenant_id = ${tenant} and id = ${version}`;
        const [worker] = await sql<{ id: string }[]>`
          select id, url from serve_workers where state = 'ready' order by sessions, id`;
        await sql`
          insert into sessions (id, tenant_id, robot, embodiment_id, policy_version_id, options, worker_id)
          values (${id}, ${tenant}, 'bench', ${embodiment}, ${version}, '{}', ${worker?.id ?? ''}) returning *`;
        await note(sql, 'sessions.create', id);
      },
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

/** Calls a second, `TOGETHER` at a time, and the 99th percentile of what one takes then, in ms. */
async function rateOf(
  count: number,
  call: () => Promise<unknown>,
): Promise<{ perSecond: number; p99: number }> {
  // Every connection is open before the clock starts.
  await Promise.all(Array.from({ length: TOGETHER }, call));
  let left = count;
  const times: number[] = [];
  const started = performance.now();
  await Promise.all(
    Array.from({ length: TOGETHER }, async () => {
      while (left-- > 0) times.push(...(await timed(1, 0, call)));
    }),
  );
  return {
    perSecond: (count * 1000) / (performance.now() - started),
    p99: quantile(times, 0.99),
  };
}
