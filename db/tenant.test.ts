import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../test/support/postgres.ts';
import { connect, withPlatform, withSystem, withTenant } from './connection.ts';
import { DatabaseError } from './errors.ts';
import { newId } from './ids.ts';
import { enqueue } from './jobs.ts';
import { apiKeys, embodiments, jobs, tenants } from './schema.ts';

let server: TestPostgres;
let db: TestDatabase;
const [a, b] = [newId('ten'), newId('ten')];

beforeAll(async () => {
  server = await startTestPostgres();
  db = await server.database();
  for (const id of [a, b]) {
    await withTenant(db.app, id, async (tx) => {
      await tx.insert(tenants).values({ id, name: id });
      await tx.insert(embodiments).values({ id: `emb_${id}`, tenantId: id, spec: { of: id } });
      await tx.insert(apiKeys).values({
        id: `key_${id}`,
        lineage: `key_${id}`,
        tenantId: id,
        name: 'k',
        start: 'ark',
        hash: Buffer.from(id),
        scopes: ['read'],
      });
      await enqueue(tx, { tenantId: id, kind: 'ingest', subjectId: `ds_${id}` });
    });
  }
});
afterAll(async () => server.stop());

describe('withTenant', () => {
  it('shows a tenant its own rows and no other, without any predicate', async () => {
    for (const id of [a, b]) {
      const seen = await withTenant(db.app, id, async (tx) => [
        (await tx.select().from(tenants)).map((row) => row.id),
        (await tx.select().from(embodiments)).map((row) => row.tenantId),
        (await tx.select().from(apiKeys)).map((row) => row.tenantId),
        (await tx.select().from(jobs)).map((row) => row.tenantId),
      ]);
      expect(seen).toEqual([[id], [id], [id], [id]]);
    }
  });

  it('writes nothing of another tenant', async () => {
    await withTenant(db.app, a, async (tx) => {
      const touched = await tx.update(embodiments).set({ spec: {} }).returning();
      expect(touched.map((row) => row.tenantId)).toEqual([a]);
    });
    const insert = withTenant(db.app, a, async (tx) => {
      await tx.insert(embodiments).values({ id: newId('emb'), tenantId: b, spec: {} });
    });
    await expect(insert).rejects.toMatchObject({ code: '42501' });
    const move = withTenant(db.app, a, async (tx) => {
      await tx.update(embodiments).set({ tenantId: b });
    });
    await expect(move).rejects.toMatchObject({ code: '42501' });
  });

  it('refuses a row that points at another tenant’s', async () => {
    const cross = withTenant(db.app, a, async (tx) => {
      await tx.execute(
        sql`insert into datasets (id, tenant_id, embodiment_id, name, status, prefix, bytes, files)
            values ('ds_x', ${a}, ${`emb_${b}`}, 'x', 'uploading', 'p', 1, 1)`,
      );
    });
    await expect(cross).rejects.toMatchObject({ code: '23503' });
  });

  it('leaves nothing on the connection, which then sees nobody', async () => {
    const one = connect(db.appUrl, { max: 1 });
    try {
      await withTenant(one, a, async (tx) => {
        expect(await tx.select().from(embodiments)).toHaveLength(1);
      });
      const after = await withPlatform(one, async (tx) => tx.select().from(embodiments));
      expect(after).toEqual([]);
    } finally {
      await one.close();
    }
  });

  it('rolls back whole and redacts what failed', async () => {
    const secret = 'do-not-log-this-value';
    const failing = withTenant(db.app, a, async (tx) => {
      await tx.insert(embodiments).values({ id: 'emb_gone', tenantId: a, spec: {} });
      await tx.insert(apiKeys).values({
        id: `key_${a}`,
        lineage: `key_${a}`,
        tenantId: a,
        name: secret,
        start: secret,
        hash: Buffer.from(secret),
        scopes: [],
      });
    });
    const error: unknown = await failing.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DatabaseError);
    expect(error).toMatchObject({ code: '23505', table: 'api_keys', constraint: 'api_keys_pkey' });
    const text = JSON.stringify(error, Object.getOwnPropertyNames(error));
    expect(text).not.toContain(secret);
    const left = await withTenant(db.app, a, async (tx) =>
      tx.select().from(embodiments).where(eq(embodiments.id, 'emb_gone')),
    );
    expect(left).toEqual([]);
  });
});

describe('system access', () => {
  it('sees jobs of every tenant and nothing else of theirs', async () => {
    const reasons: string[] = [];
    const worker = connect(db.workerUrl, {
      max: 1,
      onSystemAccess: (reason) => reasons.push(reason),
    });
    try {
      const seen = await withSystem(worker, 'count the jobs of all tenants', async (tx) =>
        tx.select().from(jobs),
      );
      expect(seen.map((row) => row.tenantId).sort()).toEqual([a, b].sort());
      expect(reasons).toEqual(['count the jobs of all tenants']);
      const denied = withSystem(worker, 'read the embodiments of all', async (tx) =>
        tx.select().from(embodiments),
      );
      await expect(denied).rejects.toMatchObject({ code: '42501' });
      const after = await withPlatform(worker, async (tx) => tx.select().from(jobs));
      expect(after).toEqual([]);
    } finally {
      await worker.close();
    }
  });

  it('is not for the API', async () => {
    const denied = withSystem(db.app, 'see what I may not', async (tx) => tx.select().from(jobs));
    await expect(denied).rejects.toMatchObject({ code: '42501' });
  });

  it('lets the API find a key by its whole hash, and a worker not', async () => {
    const find = sql`select id, tenant_id from armature_find_key(${Buffer.from(b)}::bytea)`;
    const rows = await withPlatform(db.app, async (tx) => tx.execute(find));
    expect([...rows]).toEqual([{ id: `key_${b}`, tenant_id: b }]);
    await expect(withPlatform(db.worker, async (tx) => tx.execute(find))).rejects.toMatchObject({
      code: '42501',
    });
  });
});
