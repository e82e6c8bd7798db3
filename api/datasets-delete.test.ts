import { claimJob, datasets, enqueue, eq, holdLease, withTenant } from '@armature/db';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { PLATFORM_KEY, startTestApi, type TestApi } from '../test/support/api.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';
import { markDataset, markReady, passFinetune } from '../test/support/rows.ts';

let api: TestApi;
let admin: Sql;
beforeAll(async () => {
  api = await startTestApi();
  admin = postgres(api.db.adminUrl, { max: 1 });
});
afterAll(async () => {
  await admin.end();
  await api.stop();
});

/** Resolves once a transaction waits for another's lock. */
const blocked = () =>
  vi.waitFor(
    async () => {
      expect(await admin`select from pg_locks where not granted`).not.toEqual([]);
    },
    { timeout: 20_000 },
  );

async function world() {
  const { id: tenant, key } = await api.tenant();
  const { id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec });
  const add = async () => {
    const { dataset } = await api.must('datasets.create', key, {
      name: 'd',
      embodiment_id: embodiment,
      files: [fileOf('a', Buffer.alloc(1000))],
    });
    const prefix = `tenants/${tenant}/datasets/${dataset.id}/`;
    for (const name of ['files/a', 'derived/labels']) {
      await api.store.put(prefix + name, new Uint8Array(1));
    }
    const files = async () => {
      const keys: string[] = [];
      for await (const { key: found } of api.store.list(prefix)) keys.push(found);
      return keys.length;
    };
    return { id: dataset.id, files };
  };
  const remove = (id: string) => api.call('datasets.delete', key, { id });
  return { tenant, key, embodiment, add, remove };
}

/** As `datasets.complete` leaves it. */
async function validating(tenant: string, id: string): Promise<void> {
  await markDataset(api.db.worker, tenant, id, 'validating');
  await withTenant(api.db.app, tenant, (tx) =>
    enqueue(tx, { tenantId: tenant, kind: 'ingest', subjectId: id }),
  );
}

const claim = () => claimJob(api.db.worker, { kind: 'ingest', owner: 'a worker', leaseMs: 60_000 });

describe('a data set that is deleted', () => {
  it('loses its files and gives its place back, keeps its row, and is listed no more', async () => {
    const { tenant, key, embodiment, add, remove } = await world();
    const limit = { id: tenant, name: 'storage_bytes' as const, value: 1500 };
    await api.must('tenants.limit', PLATFORM_KEY, limit);
    const set = await add();
    const again = () =>
      api.call('datasets.create', key, {
        name: 'e',
        embodiment_id: embodiment,
        files: [fileOf('a', Buffer.alloc(1000))],
      });
    expect((await again()).problem).toMatchObject({ limit: 'storage_bytes' });
    await markReady(api.db.worker, tenant, set.id);
    const { ok } = await remove(set.id);
    expect(ok).toMatchObject({ id: set.id, status: 'deleted' });
    expect(ok?.deleted_at).not.toBeNull();
    expect(await set.files()).toBe(0);
    expect((await remove(set.id)).ok).toEqual(ok);
    expect(await api.must('datasets.get', key, { id: set.id })).toEqual(ok);
    expect((await api.must('datasets.list', key, {})).items).toEqual([]);
    expect((await again()).ok?.dataset.status).toBe('uploading');
    const { items } = await api.must('audit.list', key, { subject: set.id });
    expect(items.map(({ verb }) => verb)).toEqual(['datasets.delete', 'datasets.create']);
    const conflict = { code: 'conflict' };
    const input = { name: 'f', dataset_id: set.id, options: {} };
    expect((await api.call('finetunes.create', key, input)).problem).toMatchObject({
      ...conflict,
      field: 'dataset_id',
    });
    expect((await api.call('datasets.complete', key, { id: set.id })).problem).toMatchObject(
      conflict,
    );
    const accept = { id: set.id, without_episodes: [0] };
    expect((await api.call('datasets.accept', key, accept)).problem).toMatchObject(conflict);
    expect((await api.must('datasets.plan', key, { id: set.id })).parts).toEqual([]);
    await expect(markDataset(api.db.worker, tenant, set.id, 'ready')).rejects.toThrow();
  });

  it('may still wait to be validated: nobody does that then', async () => {
    const { tenant, key, add, remove } = await world();
    const set = await add();
    await validating(tenant, set.id);
    expect((await remove(set.id)).ok?.status).toBe('deleted');
    expect(await set.files()).toBe(0);
    expect(await claim()).toBeNull();
    expect((await api.must('datasets.get', key, { id: set.id })).status).toBe('deleted');
  });

  it('is used by no fine-tune that has not ended, and is not being validated', async () => {
    const { tenant, key, add, remove } = await world();
    const sets = [await add(), await add(), await add()] as const;
    const [first, added, heldout] = sets;
    await validating(tenant, first.id);
    expect((await claim())?.subjectId).toBe(first.id);
    expect((await remove(first.id)).problem).toMatchObject({ code: 'conflict', field: 'id' });
    for (const { id } of sets) await markReady(api.db.worker, tenant, id);
    const input = {
      name: 'f',
      dataset_id: first.id,
      added_dataset_ids: [added.id],
      heldout_dataset_id: heldout.id,
      options: {},
    };
    const refused = async (finetune: string): Promise<void> => {
      for (const { id, files } of sets) {
        const { problem } = await remove(id);
        expect(problem).toMatchObject({ code: 'conflict', field: 'id' });
        expect(problem?.detail).toContain(finetune);
        expect(await files()).toBe(2);
      }
    };
    const draft = await api.must('finetunes.create', key, { ...input, start: false });
    await refused(draft.id);
    await api.must('finetunes.cancel', key, { id: draft.id });
    const job = await api.must('finetunes.create', key, input);
    await refused(job.id);
    await api.must('finetunes.pause', key, { id: job.id });
    await refused(job.id);
    await api.must('finetunes.resume', key, { id: job.id });
    await passFinetune(api.db.worker, tenant, job.id, 'running', 'failed');
    for (const { id, files } of sets) {
      expect((await remove(id)).ok?.status).toBe('deleted');
      expect(await files()).toBe(0);
    }
    expect((await api.call('finetunes.retry', key, { id: job.id })).problem?.code).toBe('conflict');
  });

  it('waits for its worker to write, and is not what either of them fails for', async () => {
    const { tenant, add, remove } = await world();
    const set = await add();
    await validating(tenant, set.id);
    const job = await claim();
    if (job === null) throw new Error('nothing was claimed');
    const { removing } = await withTenant(api.db.worker, tenant, async (tx) => {
      await holdLease(tx, job);
      const removing = remove(set.id);
      await blocked();
      const row = eq(datasets.id, set.id);
      await tx.update(datasets).set({ progress: 0.5 }).where(row);
      // Not awaited before the transaction ends.
      return { removing };
    });
    expect((await removing).problem).toMatchObject({ code: 'conflict', field: 'id' });
  });

  it('and a fine-tune of it that is made at the same time exclude each other', async () => {
    const { tenant, key, add, remove } = await world();
    for (let round = 0; round < 8; round += 1) {
      const set = await add();
      await markReady(api.db.worker, tenant, set.id);
      const [made, gone] = await Promise.all([
        api.call('finetunes.create', key, { name: 'f', dataset_id: set.id, options: {} }),
        remove(set.id),
      ]);
      expect([made.ok === undefined, gone.ok === undefined].filter(Boolean)).toHaveLength(1);
      expect(await set.files()).toBe(gone.ok === undefined ? 2 : 0);
      if (made.ok !== undefined) await api.must('finetunes.cancel', key, { id: made.ok.id });
    }
  });
});
