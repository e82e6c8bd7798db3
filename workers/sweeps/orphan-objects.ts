import {
  and,
  datasetFiles,
  datasets,
  eq,
  finetunes,
  isNull,
  jobs,
  ne,
  policyVersions,
  withTenant,
  type Tx,
} from '@armature/db';
import type { ObjectStore, OpenMultipart } from '@armature/storage';
import type { Sweep, SweepServices } from './sweep.ts';

/** Younger objects may be of an upload or a job whose row says so only afterwards. */
const AGE_MS = 86_400_000;

/** Keys between two looks at what rows name. */
const BATCH = 20;

/** Keys of a tenant that rows name, or that they lie below. */
interface Named {
  /** Prefixes of sets that are there and of registered versions whose files are. */
  readonly prefixes: ReadonlySet<string>;
  /** Recorded checkpoints. */
  readonly keys: ReadonlySet<string>;
  /** Attempts that run, as keys have them: what they have stored they may yet record. */
  readonly running: ReadonlySet<string>;
  /** Whether a fine-tune may be writing the very objects of a version that is not registered. */
  readonly isStoring: boolean;
}

/**
 * Takes objects away that no row names: checkpoints whose worker was lost before it recorded them, versions
 * that were never registered, what was left of deleted sets; and multipart uploads, which no object is yet,
 * that no file's row names. Objects of kinds that it does not know stay.
 *
 * Nothing is locked meanwhile, since a worker's lease would wait: an object that is a day old is recorded by
 * an attempt that runs, of which all stays, or not any more.
 */
export const orphanObjects: Sweep = {
  name: 'orphan-objects',
  everyS: 86_400,
  forTenant: async (tenant, { db, store, clock }) => {
    const before = new Date(clock().getTime() - AGE_MS);
    const aborted = await abortUnnamed(tenant, { db, store }, before);
    const old = await oldKeys(store, `tenants/${tenant}/`, before);
    if (old.length === 0) return aborted;
    const named = () => withTenant(db, tenant, (tx) => readNamed(tx, tenant));
    const first = await named();
    const orphans = old.filter((key) => isOrphan(key, tenant, first));
    let taken = aborted;
    for (const some of batchesOf(orphans, BATCH)) {
      const still = await named();
      for (const key of some) {
        if (!isOrphan(key, tenant, still) || !(await isOld(store, key, before))) continue;
        await store.delete(key);
        taken += 1;
      }
    }
    return taken;
  },
};

function* batchesOf<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

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
    .where(and(eq(policyVersions.tenantId, tenant), isNull(policyVersions.expiredAt)));
  const all = await tx
    .select({ status: finetunes.status, checkpoint: finetunes.checkpoint })
    .from(finetunes)
    .where(eq(finetunes.tenantId, tenant));
  const running = await tx
    .select({ id: jobs.id, attempt: jobs.attempt, finetune: jobs.subjectId })
    .from(jobs)
    .where(and(eq(jobs.tenantId, tenant), eq(jobs.kind, 'finetune'), eq(jobs.status, 'running')));
  return {
    prefixes: new Set([
      ...sets.map(({ prefix }) => prefix.replace(/files\/$/, '')),
      ...versions.map(({ prefix }) => prefix),
    ]),
    keys: new Set(all.flatMap(({ checkpoint }) => checkpoint?.key ?? [])),
    running: new Set(
      running.map(
        ({ id, attempt, finetune }) =>
          `tenants/${tenant}/finetunes/${finetune}/${id}/attempt-${attempt}`,
      ),
    ),
    isStoring: all.some(({ status }) => ['packaging', 'pausing', 'cancelling'].includes(status)),
  };
}

function isOrphan(key: string, tenant: string, named: Named): boolean {
  const { prefixes, keys, running, isStoring } = named;
  const parts = /^(?<folder>tenants\/[^/]+\/(?<kind>[^/]+)\/[^/]+\/)/.exec(key)?.groups;
  if (parts === undefined || !key.startsWith(`tenants/${tenant}/`)) return false;
  switch (parts['kind']) {
    case 'datasets':
      return !prefixes.has(parts['folder'] ?? '');
    case 'policies':
      return !isStoring && !prefixes.has(parts['folder'] ?? '');
    case 'finetunes':
      return !keys.has(key) && !running.has(key.slice(0, key.lastIndexOf('/')));
    default:
      return false;
  }
}
