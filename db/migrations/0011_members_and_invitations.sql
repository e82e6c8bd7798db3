-- People of a tenant. One who was removed keeps the row, so that what was done stays told.
create table members (
  id text primary key,
  email text not null check (email = lower(email)),
  role text not null check (role in ('owner', 'engineer', 'operator', 'viewer')),
  created_at timestamptz(3) not null default now(),
  removed_at timestamptz(3)
);
call armature_tenant_table('members');
create unique index on members (tenant_id, email) where removed_at is null;
create index on members (tenant_id, created_at desc, id desc);
grant select, insert on members to armature_app;
grant update (role, removed_at) on members to armature_app;

-- An invitation is good for one acceptance before it expires; it is kept as its hash.
create table invitations (
  id text primary key,
  email text not null check (email = lower(email)),
  role text not null check (role in ('owner', 'engineer', 'operator', 'viewer')),
  hash bytea not null unique,
  invited_by text not null,
  created_at timestamptz(3) not null default now(),
  expires_at timestamptz(3) not null,
  revoked_at timestamptz(3),
  accepted_at timestamptz(3),
  member_id text,
  check ((accepted_at is null) = (member_id is null)),
  check (accepted_at is null or revoked_at is null)
);
call armature_tenant_table('invitations');
alter table invitations add foreign key (tenant_id, member_id) references members (tenant_id, id);
-- Inviting somebody again takes the earlier invitation back.
create unique index on invitations (tenant_id, email) where accepted_at is null and revoked_at is null;
create index on invitations (tenant_id, created_at desc, id desc);
grant select, insert on invitations to armature_app;
grant update (revoked_at, accepted_at, member_id) on invitations to armature_app;

-- A key of a person has the scopes of the person's role.
alter table api_keys add column member_id text;
alter table api_keys add foreign key (tenant_id, member_id) references members (tenant_id, id);
create index on api_keys (tenant_id, member_id) where member_id is not null;

-- As with keys: an invitation says whose it is, so it is looked up before the tenant is known.
create policy lookup on invitations for select to armature_system using (true);
grant select on invitations to armature_system;

create function armature_find_invitation(wanted bytea)
returns table (id text, tenant_id text, expires_at timestamptz, revoked_at timestamptz)
language sql stable security definer set search_path = pg_catalog, public
begin atomic
  select invitations.id, invitations.tenant_id, invitations.expires_at, invitations.revoked_at
    from invitations where invitations.hash = wanted;
end;
grant create on schema public to armature_system;
alter function armature_find_invitation(bytea) owner to armature_system;
revoke create on schema public from armature_system;
revoke execute on function armature_find_invitation(bytea) from public;
grant execute on function armature_find_invitation(bytea) to armature_app;
