-- When a robot last got a token, without which it is gone by the end of the one before. What is open already
-- counts by what it was served since.
alter table sessions add column granted_at timestamptz(3) not null default now() - interval '10 minutes';
alter table sessions alter column granted_at set default now();
create index on sessions (tenant_id, granted_at) where ended_at is null;

-- A retired version's files are taken away some time after; its row stays.
alter table policy_versions add column expired_at timestamptz(3);
grant update (expired_at) on policy_versions to armature_worker;
create index on policy_versions (tenant_id, retired_at) where retired_at is not null and expired_at is null;
