-- How many actions of a chunk a version was trained to go on from, so that a client knows what it may
-- ask for; 0 where it was not trained so.
alter table policy_versions
  add column prefix_delay_max integer not null default 0 check (prefix_delay_max >= 0);

-- Versions that are there have what their fine-tune asked for. Even an owner that is no superuser has
-- to see them.
alter table policy_versions no force row level security;
alter table finetunes no force row level security;
update policy_versions v
  set prefix_delay_max = (f.options ->> 'prefix_delay_max')::integer
  from finetunes f
  where f.id = v.finetune_id and f.options ? 'prefix_delay_max';
alter table policy_versions force row level security;
alter table finetunes force row level security;
