-- What a version was made from and by, and what it scored; null for versions from before it was recorded.
alter table policy_versions
  -- [{dataset_id, digest, episodes, frames}], in the order in which it was trained on.
  add column data jsonb,
  add column code jsonb,
  add column heldout jsonb,
  -- The latest score that was recorded, by whoever ran the simulator.
  add column simulated jsonb,
  add check ((data is null) = (code is null));
grant update (simulated) on policy_versions to armature_app;
