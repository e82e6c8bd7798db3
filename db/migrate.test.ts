import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestPostgres, type TestPostgres } from '../test/support/postgres.ts';
import { migrate, readMigrations } from './migrate.ts';
import { ensureDatabase } from './roles.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await startTestPostgres();
});
afterAll(async () => server.stop());

describe('migrate', () => {
  it('applies every file once, however many start at a time', async () => {
    const url = await ensureDatabase(server.adminUrl, 'crowd');
    const names = (await readMigrations()).map(({ name }) => name);
    const applied = await Promise.all([migrate(url), migrate(url), migrate(url)]);
    expect(applied.filter((list) => list.length > 0)).toEqual([names]);
    expect(await migrate(url)).toEqual([]);
  });

  it('refuses a database whose history is not this one', async () => {
    const { adminUrl } = await server.database();
    const client = postgres(adminUrl, { max: 1 });
    await client`update armature_migrations set sha256 = 'edited' where number = 2`;
    await expect(migrate(adminUrl)).rejects.toThrow(
      /0002_control_plane.sql was applied with other/,
    );
    await client`delete from armature_migrations where number = 2`;
    await expect(migrate(adminUrl)).rejects.toThrow(/0003_jobs.sql was applied with other/);
    const { adminUrl: newer } = await server.database();
    const other = postgres(newer, { max: 1 });
    await other`insert into armature_migrations (number, name, sha256) values (99, '0099_future.sql', 'x')`;
    await expect(migrate(newer)).rejects.toThrow(
      /0099_future.sql, which this version does not know/,
    );
    await client.end();
    await other.end();
  });

  it('refuses numbers that are missing or twice there', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'migrations-'));
    const folder = pathToFileURL(`${dir}/`);
    await writeFile(path.join(dir, '0001_one.sql'), '');
    await writeFile(path.join(dir, '0003_three.sql'), '');
    await expect(readMigrations(folder)).rejects.toThrow(/0003_three.sql must be number 2/);
    await rm(dir, { recursive: true });
  });
});
