create table tenants (
  id text primary key,
  name text not null,
  created_at timestamptz(3) not null default now()
);
alter table tenants enable row level security;
alter table tenants force row level security;
create policy tenant on tenants for all to armature_app, armature_worker
  using (id = armature_tenant()) with check (id = armature_tenant());
grant select, insert on tenants to armature_app;

create table api_keys (
  id text primary key,
  name text not null,
  start text not null,
  hash bytea not null unique,
  scopes text[] not null,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3),
  last_used_at timestamptz(3),
  revoked_at timestamptz(3)
);
call armature_tenant_table('api_keys');
grant select, insert, update on api_keys to armature_app;

-- A key says whose it is, so it is looked up before the tenant is known: by its whole hash, through
-- this function alone, which runs as armature_system.
create policy lookup on api_keys for select to armature_system using (true);
create policy last_use on api_keys for update to armature_system using (true) with check (true);
grant select on api_keys to armature_system;
grant update (last_used_at) on api_keys to armature_system;

create function armature_find_key(wanted bytea)
returns table (id text, tenant_id text, scopes text[], expires_at timestamptz, revoked_at timestamptz)
language sql volatile security definer set search_path = pg_catalog, public
begin atomic
  update api_keys set last_used_at = now()
    where api_keys.hash = wanted
      and (api_keys.last_used_at is null or api_keys.last_used_at < now() - interval '1 minute');
  select api_keys.id, api_keys.tenant_id, api_keys.scopes, api_keys.expires_at, api_keys.revoked_at
    from api_keys where api_keys.hash = wanted;
end;
grant create on schema public to armature_system;
alter function armature_find_key(bytea) owner to armature_system;
revoke create on schema public from armature_system;
revoke execute on function armature_find_key(bytea) from public;
grant execute on function armature_find_key(bytea) to armature_app;

create table embodiments (
  id text primary key,
  spec jsonb not null,
  active_policy_version_id text,
  created_at timestamptz(3) not null default now()
);
call armature_tenant_table('embodiments');
create index on embodiments (tenant_id, created_at desc, id desc);
grant select, insert, update on embodiments to armature_app;
grant select on embodiments to armature_worker;

create table datasets (
  id text primary key,
  embodiment_id text not null,
  name text not null,
  status text not null check (status in ('uploading', 'validating', 'ready', 'rejected')),
  prefix text not null,
  bytes bigint not null,
  files integer not null,
  progress double precision not null default 0 check (progress between 0 and 1),
  report jsonb,
  created_at timestamptz(3) not null default now()
);
call armature_tenant_table('datasets');
alter table datasets add foreign key (tenant_id, embodiment_id) references embodiments (tenant_id, id);
create index on datasets (tenant_id, created_at desc, id desc);
grant select, insert, update on datasets to armature_app;
grant select, update on datasets to armature_worker;

create table dataset_files (
  dataset_id text not null,
  path text not null,
  size bigint not null,
  sha256 text not null,
  uploaded_at timestamptz(3),
  primary key (dataset_id, path)
);
call armature_tenant_table('dataset_files');
alter table dataset_files add foreign key (tenant_id, dataset_id) references datasets (tenant_id, id);
grant select, insert, update on dataset_files to armature_app;
grant select on dataset_files to armature_worker;

create table finetunes (
  id text primary key,
  name text not null,
  embodiment_id text not null,
  dataset_id text not null,
  heldout_dataset_id text,
  options jsonb not null,
  status text not null check (
    status in ('queued', 'preparing', 'training', 'evaluating', 'packaging', 'succeeded', 'failed', 'cancelling', 'cancelled')
  ),
  progress double precision not null default 0 check (progress between 0 and 1),
  train jsonb,
  evaluation jsonb,
  error jsonb,
  checkpoint jsonb,
  policy_version_id text,
  created_at timestamptz(3) not null default now(),
  finished_at timestamptz(3)
);
call armature_tenant_table('finetunes');
alter table finetunes add foreign key (tenant_id, embodiment_id) references embodiments (tenant_id, id);
alter table finetunes add foreign key (tenant_id, dataset_id) references datasets (tenant_id, id);
alter table finetunes add foreign key (tenant_id, heldout_dataset_id) references datasets (tenant_id, id);
create index on finetunes (tenant_id, created_at desc, id desc);
grant select, insert, update on finetunes to armature_app;
grant select, update on finetunes to armature_worker;

create table policy_versions (
  id text primary key,
  embodiment_id text not null,
  finetune_id text,
  name text not null,
  digest text not null,
  prefix text not null,
  stats_hash text not null,
  preprocess_hash text not null,
  mode text not null,
  sampler jsonb not null,
  bytes bigint not null,
  created_at timestamptz(3) not null default now()
);
call armature_tenant_table('policy_versions');
alter table policy_versions add foreign key (tenant_id, embodiment_id) references embodiments (tenant_id, id);
alter table policy_versions add foreign key (tenant_id, finetune_id) references finetunes (tenant_id, id);
create index on policy_versions (tenant_id, created_at desc, id desc);
-- One version a fine-tune: a job that is packaged twice finds the first.
create unique index on policy_versions (finetune_id) where finetune_id is not null;
alter table embodiments add foreign key (tenant_id, active_policy_version_id) references policy_versions (tenant_id, id);
alter table finetunes add foreign key (tenant_id, policy_version_id) references policy_versions (tenant_id, id);
grant select on policy_versions to armature_app;
grant select, insert on policy_versions to armature_worker;
