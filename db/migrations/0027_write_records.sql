-- What a serve worker owes one tenant, in one statement: chunks, reasonings and faults under ids that make
-- writing again harmless, and their counts in the windows of the minute that it is.
-- `records` is an array of objects, each with its `kind` and the columns of its table.
create function armature_write_records(tenant text, records jsonb)
returns void
language plpgsql set search_path = pg_catalog, public
as $$
declare
  minute constant timestamptz := date_trunc('minute', now());
  closed timestamptz;
  new_chunks text[];
  new_faults text[];
begin
  perform set_config('app.tenant_id', tenant, true), set_config('lock_timeout', '30000', true);
  -- A window that is being closed has all that was written to it; see lockUsage.
  perform pg_advisory_xact_lock_shared(hashtextextended('usage ' || tenant, 0));
  select closed_until into closed from usage_cursors where tenant_id = tenant;

  -- What comes after its window was closed counts in the first that is open.
  with written as (
    insert into usage_events (id, tenant_id, session_id, policy_version_id, reasoning_id, actions,
      reasoning_tokens, compute_us, at, window_at)
    select id, tenant, session_id, policy_version_id, reasoning_id, actions,
      reasoning_tokens, compute_us, at, greatest(at, closed)
    from jsonb_to_recordset(records) as record (kind text, id text, session_id text,
      policy_version_id text, reasoning_id text, actions integer, reasoning_tokens integer,
      compute_us bigint, at timestamptz(3))
    where kind = 'usage'
    on conflict do nothing
    returning id
  )
  select array_agg(id) into new_chunks from written;

  with written as (
    insert into policy_faults (id, tenant_id, session_id, policy_version_id, fault, message, at)
    select id, tenant, session_id, policy_version_id, fault, message, at
    from jsonb_to_recordset(records) as record (kind text, id text, session_id text,
      policy_version_id text, fault text, message text, at timestamptz(3))
    where kind = 'fault'
    on conflict do nothing
    returning id
  )
  select array_agg(id) into new_faults from written;

  insert into reasoning_records (id, tenant_id, session_id, text, source, tokens, created_at)
  select id, tenant, session_id, text, source, tokens, created_at
  from jsonb_to_recordset(records) as record (kind text, id text, session_id text, text text,
    source text, tokens integer, created_at timestamptz(3))
  where kind = 'reasoning'
  on conflict do nothing;

  -- Last: counts are locked from here to the end of the transaction, in one order for all, or two writers
  -- might wait for each other.
  insert into policy_windows as counted (tenant_id, policy_version_id, window_at, chunks, refused,
    not_finite, load_failed)
  select tenant, policy_version_id, minute,
    count(*) filter (where fault is null), count(*) filter (where fault = 'refused'),
    count(*) filter (where fault = 'not_finite'), count(*) filter (where fault = 'load_failed')
  from (
    select distinct on (kind, id) policy_version_id, fault
    from jsonb_to_recordset(records) as record (kind text, id text, policy_version_id text, fault text)
    where (kind = 'usage' and id = any (new_chunks)) or (kind = 'fault' and id = any (new_faults))
  ) as attempts
  group by policy_version_id
  order by policy_version_id
  on conflict (tenant_id, policy_version_id, window_at) do update
  set chunks = counted.chunks + excluded.chunks,
    refused = counted.refused + excluded.refused,
    not_finite = counted.not_finite + excluded.not_finite,
    load_failed = counted.load_failed + excluded.load_failed;

  insert into policy_deviations as summed (tenant_id, policy_version_id, session_id, window_at, chunks,
    deviation)
  select tenant, policy_version_id, session_id, minute, count(*), sum(deviation)
  from (
    select distinct on (id) policy_version_id, session_id, deviation
    from jsonb_to_recordset(records) as record (kind text, id text, policy_version_id text,
      session_id text, deviation double precision)
    where kind = 'usage' and id = any (new_chunks) and deviation is not null
  ) as deviations
  group by policy_version_id, session_id
  order by policy_version_id, session_id
  on conflict (tenant_id, policy_version_id, session_id, window_at) do update
  set chunks = summed.chunks + excluded.chunks, deviation = summed.deviation + excluded.deviation;
end
$$;
revoke execute on function armature_write_records(text, jsonb) from public;
grant execute on function armature_write_records(text, jsonb) to armature_worker;
