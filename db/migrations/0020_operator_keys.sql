-- Idempotency keys of the operator's mutations, which belong to no tenant: as idempotency_keys, with
-- who sent the key in the tenant's place.
create table operator_keys (
  caller text not null check (caller = 'platform'),
  verb text not null,
  key_hash bytea not null,
  input_hash bytea not null,
  state text not null check (state in ('running', 'applied', 'done')),
  owner text not null,
  answer bytea,
  claimed_at timestamptz(3) not null default clock_timestamp(),
  expires_at timestamptz(3) not null,
  primary key (caller, verb, key_hash)
);
create index on operator_keys (expires_at);
grant select, insert, update, delete on operator_keys to armature_app;
