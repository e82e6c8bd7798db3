-- Episodes that the tenant has left out of a set by name; the rest of it is validated and used.
alter table datasets add column excluded_episodes integer[] not null default '{}';
