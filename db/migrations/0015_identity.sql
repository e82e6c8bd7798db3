-- People who sign in: who they are, how they prove it, and their sign-ins. A person is no tenant's and may
-- be a member of several, so that nothing here has a tenant and no policy guards it: a schema of its
-- own, which the API's role alone may enter. The library that writes it (better-auth) names the columns.
create schema identity;
revoke all on schema identity from public;
grant usage on schema identity to armature_app;

create table identity.people (
  id text primary key,
  name text not null,
  email text not null unique check (email = lower(email)),
  email_verified boolean not null default false,
  image text,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);

-- A password, as its hash, or a person's account with the OpenID provider: `account_id` is the
-- provider's issuer and subject. Nothing of the provider's tokens is kept.
create table identity.accounts (
  id text primary key,
  person_id text not null references identity.people (id) on delete cascade,
  provider_id text not null,
  account_id text not null,
  password text,
  access_token text,
  refresh_token text,
  id_token text,
  access_token_expires_at timestamptz(3),
  refresh_token_expires_at timestamptz(3),
  scope text,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now(),
  unique (provider_id, account_id),
  check (access_token is null and refresh_token is null and id_token is null)
);
create index on identity.accounts (person_id);

-- Where somebody is signed in. The cookie is the token with a signature that needs the API's secret.
create table identity.sign_ins (
  id text primary key,
  person_id text not null references identity.people (id) on delete cascade,
  token text not null unique,
  expires_at timestamptz(3) not null,
  ip_address text,
  user_agent text,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);
create index on identity.sign_ins (person_id);
create index on identity.sign_ins (expires_at);

-- What is under way: a reset of a password, a visit to the provider. Identifiers are kept as hashes.
create table identity.verifications (
  id text primary key,
  identifier text not null,
  value text not null,
  expires_at timestamptz(3) not null,
  created_at timestamptz(3) not null default now(),
  updated_at timestamptz(3) not null default now()
);
create index on identity.verifications (identifier);
create index on identity.verifications (expires_at);

-- How often something was tried since an instant: sign-ins by address and by e-mail.
create table identity.attempts (
  key text primary key,
  count integer not null,
  until timestamptz(3) not null
);
create index on identity.attempts (until);

grant select, insert, update, delete on all tables in schema identity to armature_app;

-- A member who signs in. One who was made by an invitation alone has a key and no sign-in.
alter table members add column person_id text references identity.people (id);
create unique index on members (tenant_id, person_id) where removed_at is null;
create index on members (person_id) where removed_at is null;

-- Of which tenants a person is a member, asked before a tenant is chosen; their ids and no more.
create policy lookup on members for select to armature_system using (true);
grant select (tenant_id, person_id, removed_at) on members to armature_system;

create function armature_tenants_of(person text) returns table (tenant_id text)
language sql stable security definer set search_path = pg_catalog, public
begin atomic
  select members.tenant_id from members
    where members.person_id = person and members.removed_at is null
    order by members.tenant_id;
end;
grant create on schema public to armature_system;
alter function armature_tenants_of(text) owner to armature_system;
revoke create on schema public from armature_system;
revoke execute on function armature_tenants_of(text) from public;
grant execute on function armature_tenants_of(text) to armature_app;
