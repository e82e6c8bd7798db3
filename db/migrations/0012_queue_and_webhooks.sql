-- Where a tenant wants to be told of what happens, and what it was told.
create table webhook_endpoints (
  id text primary key,
  url text not null,
  events text[] not null,
  -- What messages are signed with; the one before signs beside it until it ends.
  secret text not null,
  previous_secret text,
  previous_until timestamptz(3),
  enabled boolean not null default true,
  created_at timestamptz(3) not null default now(),
  check ((previous_secret is null) = (previous_until is null))
);
call armature_tenant_table('webhook_endpoints');
alter table webhook_endpoints add unique (tenant_id, id);
create index on webhook_endpoints (tenant_id, created_at desc, id desc);
grant select, insert, update, delete on webhook_endpoints to armature_app;
grant select, update (enabled) on webhook_endpoints to armature_worker;

create table webhook_deliveries (
  id text primary key,
  endpoint_id text not null,
  event text not null,
  payload jsonb not null,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  attempts integer not null default 0,
  -- Of the last attempt: the status that was answered, or why there was no answer.
  answer_status integer,
  error text,
  created_at timestamptz(3) not null default clock_timestamp(),
  ended_at timestamptz(3)
);
call armature_tenant_table('webhook_deliveries');
alter table webhook_deliveries add foreign key (tenant_id, endpoint_id)
  references webhook_endpoints (tenant_id, id) on delete cascade;
create index on webhook_deliveries (tenant_id, endpoint_id, created_at desc, id desc);
grant select, insert, update on webhook_deliveries to armature_app, armature_worker;

alter table jobs drop constraint jobs_kind_check;
alter table jobs add constraint jobs_kind_check check (kind in ('ingest', 'finetune', 'webhook'));
grant insert on jobs to armature_worker;

-- A change of state and the message about it are one transaction, whichever process makes it.
create function armature_tell_state() returns trigger language plpgsql
set search_path = pg_catalog, public
as $$
declare
  kind text := tg_argv[0];
  event text := tg_argv[0] || '.' || new.status;
  endpoint record;
  delivery text;
begin
  for endpoint in
    select id from webhook_endpoints
    where tenant_id = new.tenant_id and enabled and event = any (events)
  loop
    delivery := 'whd_' || left(replace(gen_random_uuid()::text, '-', ''), 26);
    insert into webhook_deliveries (id, tenant_id, endpoint_id, event, payload)
    values (delivery, new.tenant_id, endpoint.id, event, jsonb_build_object(
      'type', event,
      'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'data', jsonb_build_object('id', new.id, 'name', new.name, 'status', new.status,
        'embodiment_id', new.embodiment_id)));
    insert into jobs (id, tenant_id, kind, subject_id)
    values ('job_' || substr(delivery, 5), new.tenant_id, 'webhook', delivery);
  end loop;
  return null;
end
$$;
create trigger tell_new after insert on finetunes
  for each row execute function armature_tell_state('finetune');
create trigger tell_state after update of status on finetunes
  for each row when (old.status is distinct from new.status)
  execute function armature_tell_state('finetune');
create trigger tell_state after update of status on datasets
  for each row when (old.status is distinct from new.status)
  execute function armature_tell_state('dataset');
