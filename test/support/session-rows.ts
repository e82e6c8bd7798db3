import type postgres from 'postgres';

/** What the control plane has on record before a robot connects. */
export async function recordSession(
  admin: postgres.Sql,
  row: { tenant: string; session: string; version: string },
): Promise<void> {
  const { tenant, session, version } = row;
  const embodiment = `emb_${tenant}`;
  await admin`insert into tenants (id, name) values (${tenant}, ${tenant}) on conflict do nothing`;
  await admin`
    insert into embodiments (id, tenant_id, spec) values (${embodiment}, ${tenant}, '{}')
    on conflict do nothing`;
  await admin`
    insert into policy_versions (id, tenant_id, embodiment_id, name, digest, prefix, stats_hash,
      preprocess_hash, mode, sampler, bytes)
    values (${version}, ${tenant}, ${embodiment}, 'v', 'd', 'p', 's', 'p', 'head', '{}', 1)
    on conflict do nothing`;
  await admin`
    insert into sessions (id, tenant_id, robot, embodiment_id, policy_version_id, options, worker_id)
    values (${session}, ${tenant}, 'robot', ${embodiment}, ${version}, '{}', 'serve-1')
    on conflict do nothing`;
}
