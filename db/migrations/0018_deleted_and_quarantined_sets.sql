-- A set that is deleted keeps its row, which fine-tunes and versions name, and none of its files. One that
-- is rejected is in quarantine: nothing reads its files, but to validate it again, until they are taken away.
drop trigger tell_state on datasets;
drop trigger end_waiting on datasets;
alter table datasets drop constraint datasets_status_check;
alter table datasets add constraint datasets_status_check
  check (status in ('uploading', 'validating', 'ready', 'rejected', 'deleted'));
alter table datasets
  add column quarantined_until timestamptz(3),
  add column deleted_at timestamptz(3);
-- A rewrite, which no policy filters, as it would an update.
alter table datasets alter column quarantined_until type timestamptz(3)
  using case when status = 'rejected' then now() + interval '30 days' else null end;
alter table datasets
  add check ((quarantined_until is not null) = (status = 'rejected')),
  add check ((deleted_at is not null) = (status = 'deleted'));
create index on datasets (tenant_id, quarantined_until) where status = 'rejected';

-- Whoever rejects, deletes or takes up a set again.
create function armature_date_dataset_state() returns trigger language plpgsql
set search_path = pg_catalog, public
as $$
begin
  if tg_op = 'UPDATE' and old.status = 'deleted' and new.status <> 'deleted' then
    raise exception 'a data set that is deleted does not become %', new.status
      using errcode = 'check_violation', constraint = 'datasets_transition', table = 'datasets';
  end if;
  if tg_op = 'INSERT' or new.status <> old.status then
    new.quarantined_until := case when new.status = 'rejected' then now() + interval '30 days' end;
    new.deleted_at := case when new.status = 'deleted' then now() end;
  end if;
  return new;
end
$$;
create trigger date_state before insert or update of status on datasets
  for each row execute function armature_date_dataset_state();
create trigger tell_state after update of status on datasets
  for each row when (old.status is distinct from new.status)
  execute function armature_tell_state('dataset');
create trigger end_waiting after update of status on datasets
  for each row when (old.status is distinct from new.status and new.status in ('ready', 'rejected'))
  execute function armature_end_waiting_for_set();
