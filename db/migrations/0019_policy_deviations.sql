-- How far robots were from where their chunks had them go, of a session by the minute that it was written
-- in, in shares of the joints' ranges. A minute that is over gets no more.
create table policy_deviations (
  policy_version_id text not null,
  session_id text not null,
  window_at timestamptz(3) not null,
  chunks integer not null,
  -- Of all the chunks, added up.
  deviation double precision not null
);
call armature_tenant_table('policy_deviations');
alter table policy_deviations add primary key (tenant_id, policy_version_id, session_id, window_at);
alter table policy_deviations add foreign key (tenant_id, policy_version_id)
  references policy_versions (tenant_id, id);
alter table policy_deviations add foreign key (tenant_id, session_id) references sessions (tenant_id, id);
create index on policy_deviations (tenant_id, window_at);
grant select on policy_deviations to armature_app;
grant select, insert, update, delete on policy_deviations to armature_worker;
