-- Whether a claim would find anything: what a worker without work asks every second, in one statement.
create function armature_work_due(queue text)
returns boolean
language sql stable security definer set search_path = pg_catalog, public
begin atomic
  select exists (
    select from jobs
      where jobs.kind = queue and jobs.status = 'running' and jobs.lease_until < now()
  ) or exists (
    select from pgboss.job
      where job.name = queue and job.state < 'active' and job.start_after < now()
  );
end;
grant create on schema public to armature_system;
alter function armature_work_due(text) owner to armature_system;
revoke create on schema public from armature_system;
revoke execute on function armature_work_due(text) from public;
grant execute on function armature_work_due(text) to armature_worker;
