-- A worker cuts off whoever's session has ended, of any tenant: it learns ids and no more.
create index on sessions (worker_id, ended_at) where ended_at is not null;
create policy ended on sessions for select to armature_system using (ended_at is not null);
grant select (id, worker_id, ended_at) on sessions to armature_system;

create function armature_ended_sessions(worker text, connected text[], within interval)
returns table (id text)
language sql stable security definer set search_path = pg_catalog, public
begin atomic
  select sessions.id from sessions
    where sessions.ended_at is not null
      and (
        sessions.id = any (connected)
        or (sessions.worker_id = worker and sessions.ended_at > now() - within)
      );
end;
grant create on schema public to armature_system;
alter function armature_ended_sessions(text, text[], interval) owner to armature_system;
revoke create on schema public from armature_system;
revoke execute on function armature_ended_sessions(text, text[], interval) from public;
grant execute on function armature_ended_sessions(text, text[], interval) to armature_worker;
