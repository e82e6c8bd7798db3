-- A job that is paused keeps its row, and its subject gets no other, until it goes on or is cancelled.
alter table jobs add column pause_requested boolean not null default false;
alter table jobs drop constraint jobs_status_check;
alter table jobs add constraint jobs_status_check
  check (status in ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled'));
drop index jobs_kind_subject_id_idx;
create unique index jobs_kind_subject_id_idx on jobs (kind, subject_id)
  where status in ('queued', 'running', 'paused');

alter table finetunes drop constraint finetunes_status_check;
alter table finetunes add constraint finetunes_status_check check (
  status in ('queued', 'preparing', 'training', 'evaluating', 'packaging', 'pausing', 'paused',
    'succeeded', 'failed', 'cancelling', 'cancelled')
);
