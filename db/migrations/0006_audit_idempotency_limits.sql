-- What was done, by whom; written in the transaction of what it records and never changed.
create table audit_log (
  id text primary key,
  -- Id of the key that called, or `platform`.
  actor text not null,
  verb text not null,
  subject_id text not null,
  request_id text not null,
  detail jsonb not null default '{}',
  created_at timestamptz(3) not null default clock_timestamp()
);
call armature_tenant_table('audit_log');
create index on audit_log (tenant_id, created_at desc, id desc);
grant select, insert on audit_log to armature_app;

-- One row a mutation that came with an idempotency key, for a day. The key is kept as its hash, the
-- answer sealed with the key, which only the caller has.
create table idempotency_keys (
  verb text not null,
  key_hash bytea not null,
  input_hash bytea not null,
  -- running: nothing is written yet; applied: it is, and the answer is not kept yet; done.
  state text not null check (state in ('running', 'applied', 'done')),
  owner text not null,
  answer bytea,
  claimed_at timestamptz(3) not null default clock_timestamp(),
  expires_at timestamptz(3) not null
);
call armature_tenant_table('idempotency_keys');
alter table idempotency_keys add primary key (tenant_id, verb, key_hash);
create index on idempotency_keys (tenant_id, expires_at);
grant select, insert, update, delete on idempotency_keys to armature_app;

-- What the operator has granted a tenant in place of the default.
create table tenant_limits (
  name text not null,
  value double precision not null check (value >= 0)
);
call armature_tenant_table('tenant_limits');
alter table tenant_limits add primary key (tenant_id, name);
grant select, insert, update, delete on tenant_limits to armature_app;

-- Requests left in a bucket at an instant; what has come back since is counted when they are taken.
create table rate_buckets (
  name text not null,
  tokens double precision not null,
  counted_at timestamptz not null
);
call armature_tenant_table('rate_buckets');
alter table rate_buckets add primary key (tenant_id, name);
grant select, insert, update on rate_buckets to armature_app;

-- Takes up to `wanted` requests from a tenant's bucket, which has a share of the tenant's rate.
-- `granted` 0 says when one is free again.
-- One statement outside of a transaction: the tenant is set for it alone.
create function armature_take(
  tenant text, bucket text, share double precision,
  rate double precision, burst double precision, wanted integer
)
returns table (granted integer, retry_after_s double precision)
language plpgsql volatile set search_path = pg_catalog, public
as $$
declare
  per_s double precision;
  most double precision;
  now_is timestamptz := clock_timestamp();
  free double precision;
begin
  perform set_config('app.tenant_id', tenant, true);
  select share * coalesce(max(value) filter (where name = 'requests_per_s'), rate),
         share * coalesce(max(value) filter (where name = 'requests_burst'), burst)
    into per_s, most from tenant_limits where tenant_id = tenant;
  insert into rate_buckets (tenant_id, name, tokens, counted_at) values (tenant, bucket, most, now_is)
    on conflict (tenant_id, name) do nothing;
  select least(most, b.tokens + greatest(0, extract(epoch from now_is - b.counted_at)) * per_s)
    into free from rate_buckets b where b.tenant_id = tenant and b.name = bucket for update;
  granted := greatest(0, least(wanted, floor(free)))::integer;
  retry_after_s := case when granted > 0 then 0 when per_s > 0 then (1 - free) / per_s else 3600 end;
  update rate_buckets b set tokens = free - granted, counted_at = greatest(b.counted_at, now_is)
    where b.tenant_id = tenant and b.name = bucket;
  return next;
end
$$;
revoke execute on function armature_take(text, text, double precision, double precision, double precision, integer) from public;
grant execute on function armature_take(text, text, double precision, double precision, double precision, integer) to armature_app;
