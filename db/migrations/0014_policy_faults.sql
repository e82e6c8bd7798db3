-- What a policy version did wrong: a chunk that its robot's limits refuse, one that is not finite, a
-- session that it could not be loaded for. Ids are derived from session, epoch and number, as those of
-- usage are.
create table policy_faults (
  id text primary key,
  session_id text not null,
  policy_version_id text not null,
  fault text not null check (fault in ('refused', 'not_finite', 'load_failed')),
  message text not null,
  at timestamptz(3) not null
);
call armature_tenant_table('policy_faults');
alter table policy_faults add foreign key (tenant_id, session_id) references sessions (tenant_id, id);
alter table policy_faults add foreign key (tenant_id, policy_version_id)
  references policy_versions (tenant_id, id);
create index on policy_faults (tenant_id, policy_version_id, at desc);
grant select on policy_faults to armature_app;
grant select, insert on policy_faults to armature_worker;

-- Chunks and faults of a version by the minute that they were written in, counted in the transaction
-- that writes them. A minute that is over gets no more.
create table policy_windows (
  policy_version_id text not null,
  window_at timestamptz(3) not null,
  chunks integer not null,
  refused integer not null,
  not_finite integer not null,
  load_failed integer not null
);
call armature_tenant_table('policy_windows');
alter table policy_windows add primary key (tenant_id, policy_version_id, window_at);
alter table policy_windows add foreign key (tenant_id, policy_version_id)
  references policy_versions (tenant_id, id);
grant select on policy_windows to armature_app;
grant select, insert, update on policy_windows to armature_worker;

-- Since when a canary has had its share; its record begins there.
alter table embodiments add column canary_since timestamptz(3);
-- A rewrite, which no policy filters, as it would an update.
alter table embodiments alter column canary_since type timestamptz(3)
  using case when canary_policy_version_id is null then null else now() end;
alter table embodiments add check ((canary_policy_version_id is null) = (canary_since is null));

-- The worker that writes what shows a canary to be worse ends it, and leaves a line that says so.
grant update (canary_policy_version_id, canary_share, canary_since) on embodiments to armature_worker;
grant insert on audit_log to armature_worker;
