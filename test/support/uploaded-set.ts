import { createHash } from 'node:crypto';
import {
  datasetFiles,
  datasets,
  type Db,
  embodiments,
  enqueue,
  newId,
  tenants,
  withTenant,
} from '@armature/db';
import { fromDirectory } from '@armature/datasets';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';

export interface UploadedSet {
  readonly id: string;
  /** Key prefix of its files, ending in `/`. */
  readonly prefix: string;
}

/** A tenant with an embodiment, for sets. */
export async function addOwner(
  db: Db,
  spec: EmbodimentSpec,
): Promise<{ tenantId: string; embodimentId: string }> {
  const tenantId = newId('ten');
  const embodimentId = newId('emb');
  await withTenant(db, tenantId, async (tx) => {
    await tx.insert(tenants).values({ id: tenantId, name: 'tenant' });
    await tx.insert(embodiments).values({ id: embodimentId, tenantId, spec });
  });
  return { tenantId, embodimentId };
}

/** A folder as a set whose upload is complete: its files in the store, its validation queued. */
export async function addUploadedSet(
  db: Db,
  store: ObjectStore,
  owner: { tenantId: string; embodimentId: string },
  directory: string,
): Promise<UploadedSet> {
  const { tenantId, embodimentId } = owner;
  const id = newId('ds');
  const prefix = `tenants/${tenantId}/datasets/${id}/files/`;
  const files = fromDirectory(directory);
  await withTenant(db, tenantId, async (tx) => {
    await tx.insert(datasets).values({
      id,
      tenantId,
      embodimentId,
      name: 'small',
      status: 'validating',
      prefix,
      bytes: 0,
      files: 0,
    });
    for (const path of await files.list()) {
      const bytes = await files.read(path);
      await store.put(prefix + path, bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      await tx
        .insert(datasetFiles)
        .values({ tenantId, datasetId: id, path, size: bytes.length, sha256 });
    }
    await enqueue(tx, { tenantId, kind: 'ingest', subjectId: id });
  });
  return { id, prefix };
}
