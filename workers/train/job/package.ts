import { createHash } from 'node:crypto';
import type { ObjectStore } from '@armature/storage';
import type { NewVersion } from './ledger.ts';
import { z } from 'zod';
import type { StoredVersion } from './input.ts';
import type { TrainedVersion, VersionBytes } from './workshop.ts';

/**
 * Puts a version's objects under `prefix`, the manifest last, so that a manifest in the store
 * means a whole version.
 *
 * @throws Error if the digest is not the manifest's.
 */
export async function putVersion(
  store: ObjectStore,
  prefix: string,
  version: TrainedVersion,
): Promise<NewVersion> {
  const actual = createHash('sha256').update(version.manifestBytes).digest('hex');
  if (actual !== version.digest) {
    throw new Error(`the manifest's sha256 is ${actual}, its version is named ${version.digest}`);
  }
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
    prefixDelayMax: version.manifest.prefix_delay_max ?? 0,
    bytes,
  };
}

/** What a manifest says of its files, whoever wrote it. */
const filesSchema = z.object({
  files: z.record(z.string(), z.object({ sha256: z.string(), size: z.number() })),
});

/**
 * A registered version's bytes, each compared with its digest.
 *
 * @throws Error if an object is absent or not what the manifest says: ours to mend.
 */
export async function getVersion(
  store: ObjectStore,
  { digest, prefix }: StoredVersion,
): Promise<VersionBytes> {
  const manifestBytes = await checked(store, `${prefix}manifest.json`, digest);
  const { files } = filesSchema.parse(JSON.parse(new TextDecoder().decode(manifestBytes)));
  const read = Object.entries(files).map(
    async ([name, { sha256 }]) => [name, await checked(store, prefix + name, sha256)] as const,
  );
  return { digest, manifestBytes, files: Object.fromEntries(await Promise.all(read)) };
}

async function checked(store: ObjectStore, key: string, expected: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await store.get(key);
  } catch (cause) {
    throw new Error(`object ${key} of a registered version cannot be read`, { cause });
  }
  const actual = createHash('sha256').update(bytes).digest('hex');
  if (actual !== expected) throw new Error(`object ${key} has sha256 ${actual}, not ${expected}`);
  return bytes;
}
