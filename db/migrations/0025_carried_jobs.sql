-- A job that waits has a piece of work in the queue, whichever process makes it wait; the piece is due when
-- the job is. It is kept however long the job waits, and is ended by the claim that it leads to.
select pgboss.create_queue('ingest', '{"policy": "standard"}');
select pgboss.create_queue('finetune', '{"policy": "standard"}');

create function armature_carry_job() returns trigger language plpgsql
set search_path = pg_catalog, public
as $$
begin
  insert into pgboss.job (name, data, start_after, keep_until, policy)
  select queue.name, jsonb_build_object('tenant_id', new.tenant_id, 'job_id', new.id), new.run_at,
    'infinity', queue.policy
  from pgboss.queue where queue.name = new.kind;
  if not found then
    raise exception 'no queue carries jobs of kind %', new.kind;
  end if;
  return null;
end
$$;
create trigger carry_new after insert on jobs
  for each row when (new.status = 'queued') execute function armature_carry_job();
create trigger carry_again after update of status, run_at on jobs
  for each row when (new.status = 'queued' and (old.status <> 'queued' or old.run_at <> new.run_at))
  execute function armature_carry_job();

-- Jobs that wait already; the owner of the tables is bound by their policies as well.
alter table jobs no force row level security;
alter table pgboss.job no force row level security;
insert into pgboss.job (name, data, start_after, keep_until, policy)
select kind, jsonb_build_object('tenant_id', tenant_id, 'job_id', id), run_at, 'infinity', 'standard'
from jobs where status = 'queued';
alter table jobs force row level security;
alter table pgboss.job force row level security;
