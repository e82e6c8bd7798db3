create table sessions (
  id text primary key,
  robot text not null,
  embodiment_id text not null,
  policy_version_id text not null,
  epoch integer not null default 0,
  options jsonb not null,
  worker_id text not null,
  created_at timestamptz(3) not null default now(),
  ended_at timestamptz(3)
);
call armature_tenant_table('sessions');
alter table sessions add foreign key (tenant_id, embodiment_id) references embodiments (tenant_id, id);
alter table sessions add foreign key (tenant_id, policy_version_id) references policy_versions (tenant_id, id);
create index on sessions (tenant_id, created_at desc, id desc);
grant select, insert, update on sessions to armature_app;
grant select, update on sessions to armature_worker;

-- One row a chunk, its id derived from session, epoch and number: written again, it is the same row.
create table usage_events (
  id text primary key,
  session_id text not null,
  policy_version_id text not null,
  reasoning_id text,
  actions integer not null check (actions >= 0),
  reasoning_tokens integer not null check (reasoning_tokens >= 0),
  compute_us bigint not null check (compute_us >= 0),
  at timestamptz(3) not null
);
call armature_tenant_table('usage_events');
alter table usage_events add foreign key (tenant_id, session_id) references sessions (tenant_id, id);
create index on usage_events (tenant_id, at);
create index on usage_events (tenant_id, session_id, at);
create index on usage_events (tenant_id, reasoning_id) where reasoning_id is not null;
grant select on usage_events to armature_app;
grant select, insert on usage_events to armature_worker;

create table reasoning_records (
  id text primary key,
  session_id text not null,
  text text not null,
  source text not null,
  tokens integer not null check (tokens >= 0),
  created_at timestamptz(3) not null
);
call armature_tenant_table('reasoning_records');
alter table reasoning_records add foreign key (tenant_id, session_id) references sessions (tenant_id, id);
create index on reasoning_records (tenant_id, session_id, created_at desc, id desc);
grant select on reasoning_records to armature_app;
grant select, insert on reasoning_records to armature_worker;

-- Serve workers belong to the platform: robots of every tenant are sent to them.
create table serve_workers (
  id text primary key,
  url text not null,
  state text not null check (state in ('ready', 'draining')),
  sessions integer not null default 0 check (sessions >= 0),
  heartbeat_at timestamptz not null default now()
);
grant select on serve_workers to armature_app;
grant select, insert, update, delete on serve_workers to armature_worker;
