import { claimJob, connect, ensureDatabase, migrate } from '@armature/db';
import postgres from 'postgres';
import type { Figure } from '../../result.ts';
import { quantile } from '../../timing.ts';

const CLAIMERS = 8;
const TENANTS = 20;

/**
 * A queue of `count` jobs of twenty tenants, in a database that no worker looks at, emptied by eight
 * claimers. @throws Error when a job was claimed twice, or not at all.
 */
export async function claimRate(
  urls: { readonly admin: string; readonly worker: string },
  count: number,
): Promise<Figure[]> {
  const admin = await ensureDatabase(urls.admin, 'armature_bench_jobs');
  await migrate(admin);
  await fill(admin, count);
  const worker = new URL(urls.worker);
  worker.pathname = new URL(admin).pathname;
  const db = connect(worker.href, { max: CLAIMERS });
  const claimed: string[] = [];
  const times: number[] = [];
  const started = performance.now();
  try {
    await Promise.all(
      Array.from({ length: CLAIMERS }, async (_, owner) => {
        for (;;) {
          const asked = performance.now();
          const options = {
            kind: 'finetune',
            owner: `bench ${owner}`,
            leaseMs: 600_000,
          } as const;
          const job = await claimJob(db, options);
          if (job === null) return;
          times.push(performance.now() - asked);
          claimed.push(job.id);
        }
      }),
    );
  } finally {
    await db.close();
  }
  const took = (performance.now() - started) / 1000;
  if (claimed.length !== count || new Set(claimed).size !== count) {
    throw new Error(`${claimed.length} claims of ${new Set(claimed).size} jobs, of ${count}`);
  }
  return [
    { name: `jobs claimed by ${CLAIMERS} of ${count}`, value: count / took, unit: 'jobs/s' },
    { name: 'a claim p50', value: quantile(times, 0.5), unit: 'ms' },
    { name: 'a claim p99', value: quantile(times, 0.99), unit: 'ms' },
  ];
}

async function fill(adminUrl: string, count: number): Promise<void> {
  const sql = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  try {
    await sql`
      insert into tenants (id, name)
      select 'ten_' || n, 'bench' from generate_series(0, ${TENANTS - 1}::integer) n`;
    await sql`
      insert into jobs (id, tenant_id, kind, subject_id)
      select 'job_' || n, 'ten_' || n % ${TENANTS}::integer, 'finetune', 'ft_' || n
      from generate_series(1, ${count}::integer) n`;
    await sql`analyze jobs`;
  } finally {
    await sql.end();
  }
}
