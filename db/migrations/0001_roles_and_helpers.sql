-- Roles belong to the cluster, so another database may have made them already. None may log in
-- until `setRolePasswords` gives it a password.
do $$
declare
  wanted text;
begin
  foreach wanted in array array['armature_system', 'armature_app', 'armature_worker'] loop
    begin
      execute format('create role %I nologin noinherit nosuperuser nobypassrls nocreatedb nocreaterole', wanted);
    exception
      when duplicate_object or unique_violation then null;
    end;
  end loop;
end
$$;

-- A worker becomes armature_system by `set local role` for one transaction, never by inheritance.
grant armature_system to armature_worker;

revoke create on schema public from public;
grant usage on schema public to armature_app, armature_worker, armature_system;

-- The tenant of the transaction; null outside of one, where a policy then matches nothing.
create function armature_tenant() returns text
language sql stable parallel safe
return nullif(current_setting('app.tenant_id', true), '');

-- Makes a table a tenant's: column, foreign key, index, forced row-level security and its policy.
-- Every tenant table goes through here. A table with an id can be referenced by (tenant_id, id),
-- so that a row never points at another tenant's.
create procedure armature_tenant_table(target regclass)
language plpgsql
as $$
declare
  has_id boolean := exists (
    select from pg_attribute where attrelid = target and attname = 'id' and not attisdropped
  );
begin
  execute format('alter table %s add column tenant_id text not null references tenants (id)', target);
  if has_id then
    execute format('alter table %s add unique (tenant_id, id)', target);
  else
    execute format('create index on %s (tenant_id)', target);
  end if;
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format(
    'create policy tenant on %s for all to armature_app, armature_worker '
    'using (tenant_id = armature_tenant()) with check (tenant_id = armature_tenant())',
    target
  );
end
$$;
