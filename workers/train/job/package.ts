import { createHash } from 'node:crypto';
import type { ObjectStore } from '@armature/storage';
import { policyPrefix } from './keys.ts';
import type { NewVersion } from './ledger.ts';
import type { TrainedVersion } from './workshop.ts';

/**
 * Puts a version's objects under its digest, the manifest last, so that a manifest in the store
 * means a whole version.
 *
 * @throws Error if the digest is not the manifest's.
 */
export async function putVersion(
  store: ObjectStore,
  tenantId: string,
  version: TrainedVersion,
): Promise<NewVersion> {
  const actual = createHash('sha256').update(version.manifestBytes).digest('hex');
  if (actual !== version.digest) {
    throw new Error(`the manifest's sha256 is ${actual}, its version is named ${version.digest}`);
  }
  const prefix = policyPrefix(tenantId, version.digest);
  let bytes = version.manifestBytes.length;
  for (const [name, content] of Object.entries(version.files)) {
    await store.put(prefix + name, content, { contentType: 'application/octet-stream' });
    bytes += content.length;
  }
  await store.put(`${prefix}manifest.json`, version.manifestBytes, {
    contentType: 'application/json',
  });
  return {
    digest: version.digest,
    prefix,
    statsHash: version.manifest.stats_hash,
    preprocessHash: version.manifest.preprocess_hash,
    mode: version.manifest.mode,
    sampler: version.manifest.sampler,
    bytes,
  };
}
