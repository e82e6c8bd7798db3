-- States of a fine-tune: what the tenant can mend ends apart from what is ours, one that is made need not
-- be started, one whose sets are still validated waits for them, and work on the data has one name.
drop trigger tell_new on finetunes;
drop trigger tell_state on finetunes;
alter table finetunes drop constraint finetunes_status_check;
-- Rewrites, which no policy filters, as it would an update.
alter table finetunes alter column status type text using case
  when status in ('preparing', 'training') then 'running'
  when status = 'failed' and error ? 'field' and error ? 'fix' then 'user_error'
  else status end;
alter table finetunes add constraint finetunes_status_check check (
  status in ('draft', 'validating', 'queued', 'running', 'evaluating', 'packaging', 'pausing', 'paused',
    'cancelling', 'succeeded', 'failed', 'user_error', 'cancelled')
);
alter table finetunes add constraint finetunes_user_error_check check (
  status <> 'user_error' or (error is not null and error ? 'code' and error ? 'field' and error ? 'fix')
);
alter table webhook_endpoints alter column events type text[] using case
  when events @> array['finetune.preparing', 'finetune.training']
  then array_replace(array_remove(events, 'finetune.training'), 'finetune.preparing', 'finetune.running')
  else array_replace(array_replace(events, 'finetune.training', 'finetune.running'),
    'finetune.preparing', 'finetune.running') end;
alter table webhook_deliveries alter column event type text using case
  when event in ('finetune.preparing', 'finetune.training') then 'finetune.running' else event end;

create trigger tell_new after insert on finetunes
  for each row execute function armature_tell_state('finetune');
create trigger tell_state after update of status on finetunes
  for each row when (old.status is distinct from new.status)
  execute function armature_tell_state('finetune');

-- `finetuneTransitions` of the contract; a test tries every pair.
create function armature_finetune_follows(before text, after text) returns boolean language sql immutable
return case before
  when 'draft' then after in ('validating', 'queued', 'cancelled')
  when 'validating' then after in ('queued', 'user_error', 'cancelled')
  when 'queued' then after in ('running', 'paused', 'pausing', 'cancelling', 'failed', 'user_error', 'cancelled')
  when 'running' then after in ('evaluating', 'queued', 'pausing', 'cancelling', 'failed', 'user_error')
  when 'evaluating' then after in ('packaging', 'running', 'queued', 'pausing', 'cancelling', 'failed', 'user_error')
  when 'packaging' then after in ('succeeded', 'running', 'queued', 'pausing', 'cancelling', 'failed', 'user_error')
  when 'pausing' then after in ('paused', 'succeeded', 'cancelling', 'failed', 'user_error')
  when 'paused' then after in ('queued', 'cancelled')
  when 'cancelling' then after in ('cancelled', 'failed', 'user_error')
  when 'failed' then after in ('validating', 'queued')
  when 'user_error' then after in ('validating', 'queued')
  else false end;

create function armature_check_finetune_state() returns trigger language plpgsql
set search_path = pg_catalog, public
as $$
begin
  if tg_op = 'INSERT' then
    if new.status not in ('draft', 'validating', 'queued') then
      raise exception 'a fine-tune does not begin %', new.status
        using errcode = 'check_violation', constraint = 'finetunes_transition', table = 'finetunes';
    end if;
  elsif new.status <> old.status and not armature_finetune_follows(old.status, new.status) then
    raise exception 'a fine-tune that is % does not become %', old.status, new.status
      using errcode = 'check_violation', constraint = 'finetunes_transition', table = 'finetunes';
  end if;
  return new;
end
$$;
create trigger check_state before insert or update of status on finetunes
  for each row execute function armature_check_finetune_state();

-- Sets that a fine-tune trains on together with its first, in order.
alter table finetunes add column added_dataset_ids text[] not null default '{}';
create index on finetunes (tenant_id, dataset_id);
create index on finetunes using gin (added_dataset_ids) where added_dataset_ids <> '{}';
create index on finetunes (tenant_id) where status = 'validating';

-- What waits for a set is queued, or ended, in the transaction that says how the set's validation came out.
create function armature_end_waiting_for_set() returns trigger language plpgsql
set search_path = pg_catalog, public
as $$
declare
  waiting record;
  becomes text;
begin
  for waiting in
    select id, dataset_id, heldout_dataset_id, added_dataset_ids from finetunes
    where tenant_id = new.tenant_id and status = 'validating'
      and (dataset_id = new.id or heldout_dataset_id = new.id or new.id = any (added_dataset_ids))
    order by id for update
  loop
    if new.status = 'rejected' then
      update finetunes set status = 'user_error', finished_at = now(), error = jsonb_build_object(
        'code', 'invalid_dataset', 'message', format('data set %s was rejected', new.id),
        'field', case new.id when waiting.dataset_id then 'dataset_id'
          when waiting.heldout_dataset_id then 'heldout_dataset_id' else 'added_dataset_ids' end,
        'fix', 'Read the findings of its report; accept it without its bad episodes and retry, or upload a corrected set.')
      where tenant_id = new.tenant_id and id = waiting.id;
      becomes := 'user_error';
    elsif not exists (
      select from datasets where tenant_id = new.tenant_id and status <> 'ready'
        and (id in (waiting.dataset_id, waiting.heldout_dataset_id) or id = any (waiting.added_dataset_ids))
    ) then
      insert into jobs (id, tenant_id, kind, subject_id)
      values ('job_' || left(replace(gen_random_uuid()::text, '-', ''), 26), new.tenant_id, 'finetune', waiting.id);
      update finetunes set status = 'queued' where tenant_id = new.tenant_id and id = waiting.id;
      becomes := 'queued';
    else
      continue;
    end if;
    -- As `appendEvents` does.
    perform pg_advisory_xact_lock(hashtextextended(waiting.id, 0));
    insert into job_events (tenant_id, subject_id, seq, kind, message)
    select new.tenant_id, waiting.id, coalesce(max(seq), 0) + 1, 'status', becomes
    from job_events where tenant_id = new.tenant_id and subject_id = waiting.id;
  end loop;
  return null;
end
$$;
create trigger end_waiting after update of status on datasets
  for each row when (old.status is distinct from new.status and new.status in ('ready', 'rejected'))
  execute function armature_end_waiting_for_set();
grant insert on jobs to armature_worker;
