import {
  and,
  datasetFiles,
  datasets,
  eq,
  finetunes,
  inArray,
  ne,
  policyVersions,
  withTenant,
  type Tx,
} from '@armature/db';
import { liveFinetuneStatuses } from '@armature/sdk/contract';
import type { ObjectStore, OpenMultipart } from '@armature/storage';
import type { Sweep, SweepServices } from './sweep.ts';

/** Younger objects may be of an upload or a job whose row says so only afterwards. */
const AGE_MS = 86_400_000;

/** Keys of a tenant that rows name, or that they lie below. */
interface Named {
  /** Prefixes of sets that are there and of registered versions. */
  readonly prefixes: ReadonlySet<string>;
  /** Recorded checkpoints. */
  readonly keys: ReadonlySet<string>;
}

/**
 * Takes objects away that no row names: checkpoints whose worker was lost before it recorded them, versions
 * that were never registered, what was left of deleted sets; and multipart uploads, which no object is yet,
 * that no file's row names. Objects of kinds that it does not know stay.
 */
export const orphanObjects: Sweep = {
  name: 'orphan-objects',
  everyS: 86_400,
  forTenant: async (tenant, { db, store, clock }) => {
    const before = new Date(clock().getTime() - AGE_MS);
    const aborted = await abortUnnamed(tenant, { db, store }, before);
    const old = await oldKeys(store, `tenants/${tenant}/`, before);
    if (old.length === 0) return aborted;
    const named = await withTenant(db, tenant, (tx) => readNamed(tx, tenant));
    const orphans = old.filter((key) => isOrphan(key, tenant, named));
    if (orphans.length === 0) return aborted;
    return withTenant(db, tenant, async (tx) => {
      // None of its jobs gets to store or register anything until this transaction ends.
      const live = await tx
        .select({ status: finetunes.status })
        .from(finetunes)
        .where(
          and(eq(finetunes.tenantId, tenant), inArray(finetunes.status, [...liveFinetuneStatuses])),
        )
        .for('update');
      const still = await readNamed(tx, tenant);
      // One that stores a version may be writing these very objects: the next sweep has another look.
      const isStoring = live.some(({ status }) =>
        ['packaging', 'pausing', 'cancelling'].includes(status),
      );
      let taken = aborted;
      for (const key of orphans) {
        if (!isOrphan(key, tenant, still)) continue;
        if (isStoring && key.startsWith(`tenants/${tenant}/policies/`)) continue;
        if (!(await isOld(store, key, before))) continue;
        await store.delete(key);
        taken += 1;
      }
      return taken;
    });
  },
};

/** No URL of such an upload was ever given out, or its set is gone. Returns how many there were. */
async function abortUnnamed(
  tenant: string,
  { db, store }: Pick<SweepServices, 'db' | 'store'>,
  before: Date,
): Promise<number> {
  const old: OpenMultipart[] = [];
  for await (const upload of store.listMultiparts(`tenants/${tenant}/datasets/`)) {
    if (upload.startedAt < before) old.push(upload);
  }
  let aborted = 0;
  for (const { key, uploadId } of old) {
    const [row] = await withTenant(db, tenant, (tx) =>
      tx
        .select({ path: datasetFiles.path })
        .from(datasetFiles)
        .where(and(eq(datasetFiles.tenantId, tenant), eq(datasetFiles.uploadId, uploadId)))
        .limit(1),
    );
    if (row !== undefined) continue;
    await store.abortMultipart(key, uploadId);
    aborted += 1;
  }
  return aborted;
}

async function oldKeys(store: ObjectStore, prefix: string, before: Date): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key, modifiedAt } of store.list(prefix)) {
    if (modifiedAt < before) keys.push(key);
  }
  return keys;
}

async function isOld(store: ObjectStore, wanted: string, before: Date): Promise<boolean> {
  for await (const { key, modifiedAt } of store.list(wanted)) {
    if (key === wanted) return modifiedAt < before;
  }
  return false;
}

async function readNamed(tx: Tx, tenant: string): Promise<Named> {
  const sets = await tx
    .select({ prefix: datasets.prefix })
    .from(datasets)
    .where(and(eq(datasets.tenantId, tenant), ne(datasets.status, 'deleted')));
  const versions = await tx
    .select({ prefix: policyVersions.prefix })
    .from(policyVersions)
    .where(eq(policyVersions.tenantId, tenant));
  const jobs = await tx
    .select({ checkpoint: finetunes.checkpoint })
    .from(finetunes)
    .where(eq(finetunes.tenantId, tenant));
  return {
    prefixes: new Set([
      ...sets.map(({ prefix }) => prefix.replace(/files\/$/, '')),
      ...versions.map(({ prefix }) => prefix),
    ]),
    keys: new Set(jobs.flatMap(({ checkpoint }) => checkpoint?.key ?? [])),
  };
}

function isOrphan(key: string, tenant: string, { prefixes, keys }: Named): boolean {
  const parts = /^(?<folder>tenants\/[^/]+\/(?<kind>[^/]+)\/[^/]+\/)/.exec(key)?.groups;
  if (parts === undefined || !key.startsWith(`tenants/${tenant}/`)) return false;
  switch (parts['kind']) {
    case 'datasets':
    case 'policies':
      return !prefixes.has(parts['folder'] ?? '');
    case 'finetunes':
      return !keys.has(key);
    default:
      return false;
  }
}
