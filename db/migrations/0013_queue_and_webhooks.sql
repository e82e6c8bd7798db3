-- The queue of pg-boss 10.4.2, schema 24, as its getConstructionPlans() writes it: another version of it
-- needs a migration here (getMigrationPlans()). A test compares this with what it would make itself.
CREATE SCHEMA IF NOT EXISTS pgboss;
    CREATE TYPE pgboss.job_state AS ENUM (
      'created',
      'retry',
      'active',
      'completed',
      'cancelled',
      'failed'
    );
    CREATE TABLE pgboss.version (
      version int primary key,
      maintained_on timestamp with time zone,
      cron_on timestamp with time zone,
      monitored_on timestamp with time zone
    );
    CREATE TABLE pgboss.queue (
      name text,
      policy text,
      retry_limit int,
      retry_delay int,
      retry_backoff bool,
      expire_seconds int,
      retention_minutes int,
      dead_letter text REFERENCES pgboss.queue (name),
      partition_name text,
      created_on timestamp with time zone not null default now(),
      updated_on timestamp with time zone not null default now(),
      PRIMARY KEY (name)
    );
    CREATE TABLE pgboss.schedule (
      name text REFERENCES pgboss.queue ON DELETE CASCADE,
      cron text not null,
      timezone text,
      data jsonb,
      options jsonb,
      created_on timestamp with time zone not null default now(),
      updated_on timestamp with time zone not null default now(),
      PRIMARY KEY (name)
    );
    CREATE TABLE pgboss.subscription (
      event text not null,
      name text not null REFERENCES pgboss.queue ON DELETE CASCADE,
      created_on timestamp with time zone not null default now(),
      updated_on timestamp with time zone not null default now(),
      PRIMARY KEY(event, name)
    );
    CREATE TABLE pgboss.job (
      id uuid not null default gen_random_uuid(),
      name text not null,
      priority integer not null default(0),
      data jsonb,
      state pgboss.job_state not null default('created'),
      retry_limit integer not null default(2),
      retry_count integer not null default(0),
      retry_delay integer not null default(0),
      retry_backoff boolean not null default false,
      start_after timestamp with time zone not null default now(),
      started_on timestamp with time zone,
      singleton_key text,
      singleton_on timestamp without time zone,
      expire_in interval not null default interval '15 minutes',
      created_on timestamp with time zone not null default now(),
      completed_on timestamp with time zone,
      keep_until timestamp with time zone NOT NULL default now() + interval '14 days',
      output jsonb,
      dead_letter text,
      policy text
    ) PARTITION BY LIST (name);
ALTER TABLE pgboss.job ADD PRIMARY KEY (name, id);
CREATE TABLE pgboss.archive (LIKE pgboss.job);
ALTER TABLE pgboss.archive ADD PRIMARY KEY (name, id);
ALTER TABLE pgboss.archive ADD archived_on timestamptz NOT NULL DEFAULT now();
CREATE INDEX archive_i1 ON pgboss.archive(archived_on);
    CREATE FUNCTION pgboss.create_queue(queue_name text, options json)
    RETURNS VOID AS
    $$
    DECLARE
      table_name varchar := 'j' || encode(sha224(queue_name::bytea), 'hex');
      queue_created_on timestamptz;
    BEGIN
      WITH q as (
      INSERT INTO pgboss.queue (
        name,
        policy,
        retry_limit,
        retry_delay,
        retry_backoff,
        expire_seconds,
        retention_minutes,
        dead_letter,
        partition_name
      )
      VALUES (
        queue_name,
        options->>'policy',
        (options->>'retryLimit')::int,
        (options->>'retryDelay')::int,
        (options->>'retryBackoff')::bool,
        (options->>'expireInSeconds')::int,
        (options->>'retentionMinutes')::int,
        options->>'deadLetter',
        table_name
      )
      ON CONFLICT DO NOTHING
      RETURNING created_on
      )
      SELECT created_on into queue_created_on from q;
      IF queue_created_on IS NULL THEN
        RETURN;
      END IF;
      EXECUTE format('CREATE TABLE pgboss.%I (LIKE pgboss.job INCLUDING DEFAULTS)', table_name);
      EXECUTE format('ALTER TABLE pgboss.%1$I ADD PRIMARY KEY (name, id)', table_name);
      EXECUTE format('ALTER TABLE pgboss.%1$I ADD CONSTRAINT q_fkey FOREIGN KEY (name) REFERENCES pgboss.queue (name) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED', table_name);
      EXECUTE format('ALTER TABLE pgboss.%1$I ADD CONSTRAINT dlq_fkey FOREIGN KEY (dead_letter) REFERENCES pgboss.queue (name) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED', table_name);
      EXECUTE format('CREATE UNIQUE INDEX %1$s_i1 ON pgboss.%1$I (name, COALESCE(singleton_key, '''')) WHERE state = ''created'' AND policy = ''short''', table_name);
      EXECUTE format('CREATE UNIQUE INDEX %1$s_i2 ON pgboss.%1$I (name, COALESCE(singleton_key, '''')) WHERE state = ''active'' AND policy = ''singleton''', table_name);
      EXECUTE format('CREATE UNIQUE INDEX %1$s_i3 ON pgboss.%1$I (name, state, COALESCE(singleton_key, '''')) WHERE state <= ''active'' AND policy = ''stately''', table_name);
      EXECUTE format('CREATE UNIQUE INDEX %1$s_i4 ON pgboss.%1$I (name, singleton_on, COALESCE(singleton_key, '''')) WHERE state <> ''cancelled'' AND singleton_on IS NOT NULL', table_name);
      EXECUTE format('CREATE INDEX %1$s_i5 ON pgboss.%1$I (name, start_after) INCLUDE (priority, created_on, id) WHERE state < ''active''', table_name);
      EXECUTE format('ALTER TABLE pgboss.%I ADD CONSTRAINT cjc CHECK (name=%L)', table_name, queue_name);
      EXECUTE format('ALTER TABLE pgboss.job ATTACH PARTITION pgboss.%I FOR VALUES IN (%L)', table_name, queue_name);
    END;
    $$
    LANGUAGE plpgsql;
    CREATE FUNCTION pgboss.delete_queue(queue_name text)
    RETURNS VOID AS
    $$
    DECLARE
      table_name varchar;
    BEGIN
      WITH deleted as (
        DELETE FROM pgboss.queue
        WHERE name = queue_name
        RETURNING partition_name
      )
      SELECT partition_name from deleted INTO table_name;
      EXECUTE format('DROP TABLE IF EXISTS pgboss.%I', table_name);
    END;
    $$
    LANGUAGE plpgsql;
INSERT INTO pgboss.version(version) VALUES ('24');

-- Tries come after 5 to 10 s, then twice as late each time: 16 of them in two to four days.
select pgboss.create_queue('webhook', '{"policy": "standard", "retryLimit": 15, "retryDelay": 5,
  "retryBackoff": true, "expireInSeconds": 60, "retentionMinutes": 20160}');
select pgboss.create_queue('sweep', '{"policy": "standard", "retryLimit": 3, "retryDelay": 60,
  "retryBackoff": true, "expireInSeconds": 900, "retentionMinutes": 1440}');

-- Work that is a tenant's names the tenant and is bound by it as every row of one is; what takes the next
-- work, whoever's, does so as armature_system. Partitions are reached through their parent alone.
alter table pgboss.job enable row level security;
alter table pgboss.job force row level security;
create policy tenant on pgboss.job for all to armature_app, armature_worker
  using (data ->> 'tenant_id' = armature_tenant()) with check (data ->> 'tenant_id' = armature_tenant());
create policy carry on pgboss.job for all to armature_system using (true) with check (true);
alter table pgboss.archive enable row level security;
alter table pgboss.archive force row level security;
create policy carry on pgboss.archive for all to armature_system using (true) with check (true);
grant usage on schema pgboss to armature_app, armature_worker, armature_system;
grant select on pgboss.queue to armature_app, armature_worker, armature_system;
grant select on pgboss.version to armature_system;
grant update (maintained_on, monitored_on) on pgboss.version to armature_system;
grant insert on pgboss.job to armature_app;
grant select, insert, update, delete on pgboss.job to armature_worker, armature_system;
grant select, insert, delete on pgboss.archive to armature_system;

-- A sweep goes through the tenants one by one: system access knows their ids and nothing else of them.
create policy list on tenants for select to armature_system using (true);
grant select (id) on tenants to armature_system;

-- Where a tenant wants to be told of what happens, and what it was told.
create table webhook_endpoints (
  id text primary key,
  url text not null,
  events text[] not null,
  -- What messages are signed with, sealed with a key of the processes' configuration; the one before
  -- signs beside it until it ends.
  sealed_secret text not null,
  sealed_previous text,
  previous_until timestamptz(3),
  enabled boolean not null default true,
  created_at timestamptz(3) not null default now(),
  check ((sealed_previous is null) = (previous_until is null))
);
call armature_tenant_table('webhook_endpoints');
create index on webhook_endpoints (tenant_id, created_at desc, id desc);
grant select, insert, update, delete on webhook_endpoints to armature_app;
grant select on webhook_endpoints to armature_worker;
grant update (enabled, sealed_secret, sealed_previous, previous_until) on webhook_endpoints to armature_worker;

create table webhook_deliveries (
  id text primary key,
  endpoint_id text not null,
  event text not null,
  payload jsonb not null,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed')),
  attempts integer not null default 0,
  -- The work of the queue that sends it; an earlier one of it records nothing any more.
  job_id uuid,
  -- Of the last attempt: the status that was answered, or why there was no answer.
  answer_status integer,
  error text,
  created_at timestamptz(3) not null default clock_timestamp(),
  ended_at timestamptz(3)
);
call armature_tenant_table('webhook_deliveries');
alter table webhook_deliveries add foreign key (tenant_id, endpoint_id)
  references webhook_endpoints (tenant_id, id) on delete cascade;
create index on webhook_deliveries (tenant_id, endpoint_id, created_at desc, id desc);
create index on webhook_deliveries (tenant_id) where status = 'pending';
create index on webhook_deliveries (tenant_id, ended_at) where ended_at is not null;
grant select, insert, update on webhook_deliveries to armature_app, armature_worker;
grant delete on webhook_deliveries to armature_worker;

-- Queues a message, in the transaction that makes it or sends it again. A tenant's work stands behind
-- that of tenants who have less waiting, so that one with a receiver that is down holds nobody up.
create function armature_send_webhook(tenant text, delivery text) returns void language plpgsql
set search_path = pg_catalog, public
as $$
declare
  job uuid := gen_random_uuid();
  waiting integer;
begin
  select count(*) into waiting from (
    select from webhook_deliveries where tenant_id = tenant and status = 'pending' limit 1000
  ) counted;
  update webhook_deliveries set job_id = job where tenant_id = tenant and id = delivery;
  insert into pgboss.job (id, name, data, priority, retry_limit, retry_delay, retry_backoff,
    expire_in, keep_until, policy)
  select job, queue.name, jsonb_build_object('tenant_id', tenant, 'delivery_id', delivery), -waiting,
    queue.retry_limit, queue.retry_delay, queue.retry_backoff,
    queue.expire_seconds * interval '1 second',
    now() + queue.retention_minutes * interval '1 minute', queue.policy
  from pgboss.queue where queue.name = 'webhook';
end
$$;

-- A change of state and the message about it are one transaction, whichever process makes it.
create function armature_tell_state() returns trigger language plpgsql
set search_path = pg_catalog, public
as $$
declare
  event text := tg_argv[0] || '.' || new.status;
  endpoint record;
  delivery text;
begin
  for endpoint in
    select id from webhook_endpoints
    where tenant_id = new.tenant_id and enabled and event = any (events)
  loop
    delivery := 'whd_' || left(replace(gen_random_uuid()::text, '-', ''), 26);
    insert into webhook_deliveries (id, tenant_id, endpoint_id, event, payload)
    values (delivery, new.tenant_id, endpoint.id, event, jsonb_build_object(
      'type', event,
      'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'data', jsonb_build_object('id', new.id, 'name', new.name, 'status', new.status,
        'embodiment_id', new.embodiment_id)));
    perform armature_send_webhook(new.tenant_id, delivery);
  end loop;
  return null;
end
$$;
create trigger tell_new after insert on finetunes
  for each row execute function armature_tell_state('finetune');
create trigger tell_state after update of status on finetunes
  for each row when (old.status is distinct from new.status)
  execute function armature_tell_state('finetune');
create trigger tell_state after update of status on datasets
  for each row when (old.status is distinct from new.status)
  execute function armature_tell_state('dataset');

-- Until when the URLs of an upload's last plan are good: an upload that nobody goes on with is taken away
-- some time after.
alter table datasets add column upload_until timestamptz(3) not null default now();
create index on datasets (tenant_id, upload_until) where status = 'uploading';
grant delete on datasets to armature_worker;
grant delete on dataset_files to armature_worker;

-- What sweeps take away.
grant select, delete on invitations to armature_worker;
grant select, delete on idempotency_keys to armature_worker;
grant insert on audit_log to armature_worker;
