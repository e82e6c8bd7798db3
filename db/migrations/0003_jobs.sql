create table jobs (
  id text primary key,
  kind text not null check (kind in ('ingest', 'finetune')),
  subject_id text not null,
  status text not null default 'queued' check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  attempt integer not null default 0,
  -- Grows with every claim; whoever holds an older one writes nothing any more.
  fence bigint not null default 0,
  lease_owner text,
  lease_until timestamptz,
  run_at timestamptz not null default now(),
  cancel_requested boolean not null default false,
  created_at timestamptz(3) not null default now(),
  finished_at timestamptz(3),
  error jsonb
);
call armature_tenant_table('jobs');
create unique index on jobs (kind, subject_id) where status in ('queued', 'running');
create index on jobs (tenant_id, subject_id);
-- What a claim looks through: waiting jobs by time, running ones by the end of their lease.
create index on jobs (kind, run_at) where status = 'queued';
create index on jobs (kind, lease_until) where status = 'running';
grant select, insert, update on jobs to armature_app;
grant select, update on jobs to armature_worker;

-- A worker takes the next job of any tenant; what it does for it, it does inside that tenant.
create policy claim on jobs for all to armature_system using (true) with check (true);
grant select, update on jobs to armature_system;

create table job_events (
  subject_id text not null,
  seq integer not null check (seq > 0),
  at timestamptz(3) not null default clock_timestamp(),
  kind text not null check (kind in ('status', 'progress', 'metrics', 'checkpoint', 'message', 'warning', 'error')),
  message text not null,
  data jsonb not null default '{}',
  primary key (subject_id, seq)
);
call armature_tenant_table('job_events');
grant select, insert on job_events to armature_app, armature_worker;
