import { is } from 'drizzle-orm';
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import postgres, { type Sql } from 'postgres';
import { finetuneStatusSchema } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestPostgres, type TestPostgres } from '../test/support/postgres.ts';
import { tenantTableNames } from './columns.ts';
import * as identitySchema from './identity-schema.ts';
import * as schema from './schema.ts';

const PLATFORM_TABLES = ['armature_migrations', 'operator_keys', 'serve_workers'];
const ROLES = ['armature_app', 'armature_worker', 'armature_system'];

let server: TestPostgres;
let client: Sql;

beforeAll(async () => {
  server = await startTestPostgres();
  client = postgres((await server.database()).adminUrl, { max: 1 });
});
afterAll(async () => {
  await client.end();
  await server.stop();
});

describe('the catalogue', () => {
  it('forces row-level security on every table that is not the platform’s', async () => {
    const tables = await client<{ name: string; enabled: boolean; forced: boolean }[]>`
      select relname as name, relrowsecurity as enabled, relforcerowsecurity as forced
      from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')`;
    expect(tables.length).toBeGreaterThan(10);
    const bare = tables.filter(({ enabled, forced }) => !enabled || !forced);
    expect(bare.map(({ name }) => name).sort()).toEqual(PLATFORM_TABLES);
  });

  it('gives every tenant table its column, its index and its policy', async () => {
    const policies = await client<{ name: string; qual: string; check: string; roles: string[] }[]>`
      select tablename as name, qual, with_check as check, roles::text[] as roles
      from pg_policies where schemaname = 'public' and policyname = 'tenant' and cmd = 'ALL'`;
    const columns = await client<{ name: string }[]>`
      select table_name as name from information_schema.columns
      where table_schema = 'public' and column_name = 'tenant_id' and is_nullable = 'NO'`;
    const indexes = await client<{ name: string }[]>`
      select distinct c.relname as name from pg_index i join pg_class c on c.oid = i.indrelid
      join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
      where a.attname = 'tenant_id' and c.relnamespace = 'public'::regnamespace`;
    const names = [...tenantTableNames].sort();
    expect(columns.map(({ name }) => name).sort()).toEqual(names);
    expect(indexes.map(({ name }) => name).sort()).toEqual(names);
    expect(policies.map(({ name }) => name).sort()).toEqual([...names, 'tenants'].sort());
    for (const policy of policies) {
      const column = policy.name === 'tenants' ? 'id' : 'tenant_id';
      expect(policy.qual).toBe(`(${column} = armature_tenant())`);
      expect(policy.check).toBe(policy.qual);
      expect([...policy.roles].sort()).toEqual(['armature_app', 'armature_worker']);
    }
  });

  it('has no policy beside those that are named here', async () => {
    const others = await client<{ line: string }[]>`
      select tablename || ' ' || policyname || ' ' || cmd || ' ' || roles::text as line
      from pg_policies where schemaname = 'public' and policyname <> 'tenant'`;
    expect(others.map(({ line }) => line).sort()).toEqual([
      'api_keys last_use UPDATE {armature_system}',
      'api_keys lookup SELECT {armature_system}',
      'invitations lookup SELECT {armature_system}',
      'jobs claim ALL {armature_system}',
      'members lookup SELECT {armature_system}',
      'sessions ended SELECT {armature_system}',
      'tenants list SELECT {armature_system}',
    ]);
  });

  it('lets no role of a process own, bypass or rule', async () => {
    const roles = await client<{ name: string; powers: boolean }[]>`
      select rolname as name, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolinherit or rolreplication as powers
      from pg_roles where rolname = any(${ROLES})`;
    expect(roles.map(({ name }) => name).sort()).toEqual([...ROLES].sort());
    expect(roles.filter(({ powers }) => powers)).toEqual([]);
    const owned = await client`
      select relname from pg_class where relowner in (select oid from pg_roles where rolname = any(${ROLES}))`;
    expect(owned).toEqual([]);
    const creating = await client<{ name: string }[]>`
      select rolname as name from pg_roles where rolname = any(${ROLES}) and has_schema_privilege(oid, 'public', 'create')`;
    expect(creating).toEqual([]);
  });

  it('has the states of a fine-tune that the contract has', async () => {
    const [check] = await client<{ text: string }[]>`
      select pg_get_constraintdef(oid) as text from pg_constraint
      where conname = 'finetunes_status_check'`;
    const states = [...(check?.text ?? '').matchAll(/'([a-z_]+)'/g)].map(([, state]) => state);
    expect(states.sort()).toEqual([...finetuneStatusSchema.options].sort());
  });

  it('lets the API’s role alone at people, who are no tenant’s', async () => {
    const schemas = await client<{ name: string }[]>`
      select nspname as name from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'`;
    expect(schemas.map(({ name }) => name).sort()).toEqual(['identity', 'pgboss', 'public']);
    const [entered] = await client<{ roles: string[] }[]>`
      select array_agg(rolname::text) as roles from pg_roles
      where not rolsuper and rolname !~ '^pg_' and has_schema_privilege(oid, 'identity', 'usage')`;
    expect(entered?.roles).toEqual(['armature_app']);
    const grants = await client<{ line: string }[]>`
      select distinct grantee || ' ' || privilege_type as line
      from information_schema.table_privileges where table_schema = 'identity'
        and grantee in (select rolname from pg_roles where not rolsuper) or grantee = 'PUBLIC' and table_schema = 'identity'`;
    const may = ['DELETE', 'INSERT', 'SELECT', 'UPDATE'];
    expect(grants.map(({ line }) => line).sort()).toEqual(
      may.map((each) => `armature_app ${each}`),
    );
    const tenantColumns = await client`
      select from information_schema.columns where table_schema = 'identity' and column_name = 'tenant_id'`;
    expect(tenantColumns).toHaveLength(0);
  });

  it('shows armature_system of members whose they are, and of whom', async () => {
    const columns = await client<{ name: string }[]>`
      select column_name as name from information_schema.column_privileges
      where table_schema = 'public' and table_name = 'members' and grantee = 'armature_system'`;
    const names = columns.map(({ name }) => name).sort();
    expect(names).toEqual(['person_id', 'removed_at', 'tenant_id']);
  });

  it.each([
    ['public', schema],
    ['identity', identitySchema],
  ])('is, in the schema %s, what the code says', async (name, inModule) => {
    const rows = await client<{ table: string; column: string; nullable: string }[]>`
      select table_name as table, column_name as column, is_nullable as nullable
      from information_schema.columns where table_schema = ${name} and table_name <> 'armature_migrations'`;
    const inDatabase = rows.map((row) => `${row.table}.${row.column} ${row.nullable}`).sort();
    const tables: unknown[] = Object.values(inModule);
    const inCode = tables
      .filter((value) => is(value, PgTable))
      .map((table) => getTableConfig(table))
      .flatMap(({ name, columns }) =>
        columns.map(
          (column) => `${name}.${column.name} ${column.notNull || column.primary ? 'NO' : 'YES'}`,
        ),
      );
    expect(inCode.sort()).toEqual(inDatabase);
  });
});
