-- A retired version gets no new sessions; those that are open keep it.
alter table policy_versions add column retired_at timestamptz(3);
grant update (retired_at) on policy_versions to armature_app;

-- A share of an embodiment's new sessions gets another version than the deployed one.
alter table embodiments
  add column canary_policy_version_id text,
  add column canary_share double precision check (canary_share > 0 and canary_share < 1),
  add check ((canary_policy_version_id is null) = (canary_share is null));
alter table embodiments add foreign key (tenant_id, canary_policy_version_id)
  references policy_versions (tenant_id, id);
