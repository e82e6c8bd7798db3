-- Requests that a process has fetched and may still use are lent: a bucket and what is lent of it
-- hold no more than the burst together, and what a process did not use comes back.
-- A process may use what it was lent for one second, so it is over at the latest in the second
-- after the one in which it was lent; what a process that is gone had is forgotten by then.
alter table rate_buckets
  add column lent double precision not null default 0,
  add column lent_before double precision not null default 0,
  -- The second since 1970 in which `lent` was lent; `lent_before` was in the one before.
  add column lent_in bigint not null default 0;

drop function armature_take(text, text, double precision, double precision, double precision, integer);

-- Takes up to `wanted` requests from a tenant's bucket, which has a share of the tenant's rate, at
-- an instant. Of what the caller was lent in second `was_lent_in`, it has used `used`, the last of
-- them `idle_s` ago, and gives `unused` back. `granted` 0 says when one is free again.
create function armature_take_at(
  now_is timestamptz, tenant text, bucket text, share double precision,
  rate double precision, burst double precision, wanted integer,
  used integer, unused integer, idle_s double precision, was_lent_in bigint
)
returns table (granted integer, retry_after_s double precision, lent_in bigint)
language plpgsql volatile set search_path = pg_catalog, public
as $$
declare
  per_s double precision;
  most double precision;
  elapsed double precision;
  idle double precision;
  free double precision;
  this_second bigint := floor(extract(epoch from now_is));
  held rate_buckets;
begin
  perform set_config('app.tenant_id', tenant, true);
  select share * coalesce(max(value) filter (where name = 'requests_per_s'), rate),
         share * coalesce(max(value) filter (where name = 'requests_burst'), burst)
    into per_s, most from tenant_limits where tenant_id = tenant;
  insert into rate_buckets (tenant_id, name, tokens, counted_at) values (tenant, bucket, most, now_is)
    on conflict (tenant_id, name) do nothing;
  select * into held from rate_buckets b where b.tenant_id = tenant and b.name = bucket for update;
  if held.lent_in < this_second then
    held.lent_before := case when held.lent_in = this_second - 1 then held.lent else 0 end;
    held.lent := 0;
    held.lent_in := this_second;
  end if;
  -- What is lent leaves no room for it to be counted twice, until it was used.
  elapsed := greatest(0, extract(epoch from now_is - held.counted_at));
  idle := least(idle_s, elapsed);
  free := least(most - held.lent - held.lent_before, held.tokens + (elapsed - idle) * per_s);
  if was_lent_in = held.lent_in then
    held.lent := greatest(0, held.lent - used);
  elsif was_lent_in = held.lent_in - 1 then
    held.lent_before := greatest(0, held.lent_before - used);
  end if;
  free := least(most - held.lent - held.lent_before, free + idle * per_s);
  if was_lent_in = held.lent_in then
    held.lent := greatest(0, held.lent - unused);
  elsif was_lent_in = held.lent_in - 1 then
    held.lent_before := greatest(0, held.lent_before - unused);
  end if;
  free := least(most - held.lent - held.lent_before, free + unused);
  -- Of a small bucket no process takes all, so that others are not left without for a second.
  granted := greatest(0, least(wanted, greatest(1, floor(most / 4)), floor(free)))::integer;
  retry_after_s := case when granted > 0 or wanted = 0 then 0
    when per_s > 0 then (1 - free) / per_s else 3600 end;
  lent_in := held.lent_in;
  update rate_buckets b
    set tokens = free - granted, counted_at = greatest(b.counted_at, now_is),
        lent = held.lent + granted, lent_before = held.lent_before, lent_in = held.lent_in
    where b.tenant_id = tenant and b.name = bucket;
  return next;
end
$$;
revoke execute on function armature_take_at(timestamptz, text, text, double precision, double precision, double precision, integer, integer, integer, double precision, bigint) from public;
grant execute on function armature_take_at(timestamptz, text, text, double precision, double precision, double precision, integer, integer, integer, double precision, bigint) to armature_app;
