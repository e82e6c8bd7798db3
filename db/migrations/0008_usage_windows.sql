-- Days of usage are the tenant's own.
alter table tenants add column time_zone text not null default 'UTC';
grant update (name, time_zone) on tenants to armature_app;

-- The window that an event counts in: its own instant, or the end of what was closed when it came.
alter table usage_events add column window_at timestamptz(3) not null default 'epoch';
-- A rewrite, which no policy filters, as it would an update.
alter table usage_events alter column window_at drop default,
  alter column window_at type timestamptz(3) using at;
create index on usage_events (tenant_id, window_at);

-- What attempts of fine-tunes took of a worker, one row an attempt that came to an end.
create table training_usage (
  id text primary key,
  finetune_id text not null,
  compute_us bigint not null check (compute_us >= 0),
  at timestamptz(3) not null,
  window_at timestamptz(3) not null
);
call armature_tenant_table('training_usage');
alter table training_usage add foreign key (tenant_id, finetune_id) references finetunes (tenant_id, id);
create index on training_usage (tenant_id, window_at);
grant select on training_usage to armature_app;
grant select, insert on training_usage to armature_worker;

-- Closed windows of a quarter of an hour, which days of every time zone are made of. Never changed.
create table usage_windows (
  id text primary key,
  window_at timestamptz(3) not null,
  session_id text,
  robot text,
  policy_version_id text,
  finetune_id text,
  chunks integer not null,
  actions bigint not null,
  reasoning_tokens bigint not null,
  compute_us bigint not null,
  training_us bigint not null
);
call armature_tenant_table('usage_windows');
create index on usage_windows (tenant_id, window_at desc, id desc);
grant select, insert on usage_windows to armature_app, armature_worker;

-- Up to where a tenant's windows are closed; moved last.
create table usage_cursors (
  closed_until timestamptz(3) not null
);
call armature_tenant_table('usage_cursors');
alter table usage_cursors add primary key (tenant_id);
grant select, insert, update on usage_cursors to armature_app, armature_worker;

-- What a fine-tune was expected to take when it was made, and when its worker expects it to end.
alter table finetunes add column estimate jsonb, add column eta_at timestamptz(3);
