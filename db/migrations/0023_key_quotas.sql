-- Quotas of a key, and of what is put in its place when it is rotated: the first of them names all.
alter table api_keys add column lineage text not null default '';
-- A rewrite, which no policy filters, as it would an update.
alter table api_keys alter column lineage drop default, alter column lineage type text using id;
create index on api_keys (tenant_id, lineage);

create table key_limits (
  lineage text not null,
  name text not null,
  value double precision not null check (value >= 0)
);
call armature_tenant_table('key_limits');
alter table key_limits add primary key (tenant_id, lineage, name);
grant select, insert, update, delete on key_limits to armature_app;
grant select on key_limits, tenant_limits to armature_worker;

-- By which keys a row came to be; null where a person made it, or before keys had quotas.
alter table datasets add column key_lineage text;
alter table finetunes add column key_lineage text;
alter table sessions add column key_lineage text;
create index on datasets (tenant_id, key_lineage) where key_lineage is not null;
create index on finetunes (tenant_id, key_lineage) where key_lineage is not null;
create index on sessions (tenant_id, key_lineage) where key_lineage is not null;

-- Since when the attempt that runs has kept its worker busy: what it took counts before it ends.
alter table jobs add column claimed_at timestamptz(3);
