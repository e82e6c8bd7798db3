-- A file that is uploaded by parts: what each must be, and the store's id of the upload once there is one.
-- `uploaded_at` of such a file says that the whole of it was verified.
alter table dataset_files
  -- [{size, sha256}], in the order in which they are joined; null for a file that is sent whole.
  add column parts jsonb,
  add column upload_id text,
  add check (upload_id is null or parts is not null);
