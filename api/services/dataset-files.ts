import { createHash } from 'node:crypto';
import { and, asc, datasetFiles, eq, type Tx } from '@armature/db';
import {
  ArmatureError,
  type DatasetFile,
  isArchive,
  type UploadPart,
} from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';

/** How long an upload plan's URLs are good for, in seconds; a new plan gives new ones. */
export const UPLOAD_EXPIRES_S = 6 * 3600;
/** Requests to the object store at a time. */
const CONCURRENCY = 16;
/** Bytes of an object in memory at a time while it is hashed. */
const HASH_BYTES = 1 << 20;
const CONTENT_TYPE = 'application/octet-stream';

/** The planned files of a set, by path. */
export async function plannedFiles(
  tx: Tx,
  tenant: string,
  datasetId: string,
): Promise<DatasetFile[]> {
  return tx
    .select({ path: datasetFiles.path, size: datasetFiles.size, sha256: datasetFiles.sha256 })
    .from(datasetFiles)
    .where(and(eq(datasetFiles.tenantId, tenant), eq(datasetFiles.datasetId, datasetId)))
    .orderBy(asc(datasetFiles.path));
}

export async function presignFiles(
  store: ObjectStore,
  prefix: string,
  files: readonly DatasetFile[],
): Promise<UploadPart[]> {
  return mapLimited(files, async ({ path, size, sha256 }) => {
    const { url, method, headers } = await store.presignPut(prefix + path, {
      size,
      sha256,
      contentType: CONTENT_TYPE,
      expiresInS: UPLOAD_EXPIRES_S,
    });
    return { path, url, method, headers, size };
  });
}

export type FileState = 'there' | 'missing' | 'other_size' | 'other_sum';

/** What lies in the store at each planned file's place, in the order of `files`. */
export async function fileStates(
  store: ObjectStore,
  prefix: string,
  files: readonly DatasetFile[],
): Promise<FileState[]> {
  return mapLimited(files, async ({ path, size, sha256 }) => {
    const found = await store.head(prefix + path);
    if (found === null) return 'missing';
    if (found.size !== size) return 'other_size';
    const sum = found.sha256 ?? (await hashOf(store, prefix + path, size));
    return sum === sha256 ? 'there' : 'other_sum';
  });
}

/** For a store that has kept no checksum of the object, which is read in pieces. */
async function hashOf(store: ObjectStore, key: string, size: number): Promise<string> {
  const hash = createHash('sha256');
  for (let start = 0; start < size; start += HASH_BYTES) {
    hash.update(await store.get(key, { start, end: Math.min(size, start + HASH_BYTES) }));
  }
  return hash.digest('hex');
}

/**
 * Refuses paths that cannot all be files of one folder, and archives.
 * @throws ArmatureError `invalid_request` naming `files[i].path`.
 */
export function checkPaths(files: readonly DatasetFile[]): void {
  const paths = new Set<string>();
  const folders = new Map<string, string>();
  files.forEach(({ path }, index) => {
    const field = `files[${index}].path`;
    const segments = path.split('/');
    if (segments.some((segment) => segment === '' || segment === '.')) {
      throw badPath(field, `${path} has an empty or . segment`);
    }
    if (isArchive(path)) throw archive(field, path);
    if (paths.has(path)) throw badPath(field, `${path} occurs twice`);
    paths.add(path);
    for (let depth = 1; depth < segments.length; depth++) {
      folders.set(segments.slice(0, depth).join('/'), path);
    }
  });
  files.forEach(({ path }, index) => {
    const below = folders.get(path);
    if (below !== undefined) {
      throw badPath(`files[${index}].path`, `${path} is also a folder of ${below}`);
    }
  });
}

function archive(field: string, path: string): ArmatureError {
  return new ArmatureError('invalid_request', `${field}: ${path} is an archive`, {
    field,
    fix: `Unpack ${path} and upload the files that it holds.`,
  });
}

function badPath(field: string, message: string): ArmatureError {
  return new ArmatureError('invalid_request', `${field}: ${message}`, {
    field,
    fix: 'Name every file once, by its path inside the set.',
  });
}

async function mapLimited<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += CONCURRENCY) {
    results.push(...(await Promise.all(items.slice(start, start + CONCURRENCY).map(work))));
  }
  return results;
}
