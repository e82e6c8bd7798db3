import { createHash } from 'node:crypto';
import { and, asc, datasetFiles, eq, type Tx } from '@armature/db';
import type { DatasetFile, FilePart } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';

/** How long an upload plan's URLs are good for, in seconds; a new plan gives new ones. */
export const UPLOAD_EXPIRES_S = 6 * 3600;
export const CONTENT_TYPE = 'application/octet-stream';
/**
 * Requests to the object store at a time: the most files of a set, 20,000 of them, are looked at within the
 * time that a client waits for an answer, 30 s, where the store takes 70 ms for one, its client having 50 connections.
 */
const CONCURRENCY = 64;
/** Bytes of an object in memory at a time while it is hashed, for each of those. */
const HASH_BYTES = 1 << 20;

/** A set's place in the store and in the database. */
export interface SetPlace {
  readonly id: string;
  /** Of the keys of its files, ending in `/`. */
  readonly prefix: string;
}

/** A file as it was planned, with how far its upload is where it comes by parts. */
export interface PlannedFile extends Pick<DatasetFile, 'path' | 'size' | 'sha256'> {
  /** Null for a file that is sent whole. */
  readonly parts: readonly FilePart[] | null;
  readonly uploadId: string | null;
  /** Whether all its parts were joined and the whole was verified. */
  readonly isVerified: boolean;
}

/** The planned files of a set, by path. */
export async function plannedFiles(
  tx: Tx,
  tenant: string,
  datasetId: string,
): Promise<PlannedFile[]> {
  const rows = await tx
    .select({
      path: datasetFiles.path,
      size: datasetFiles.size,
      sha256: datasetFiles.sha256,
      parts: datasetFiles.parts,
      uploadId: datasetFiles.uploadId,
      uploadedAt: datasetFiles.uploadedAt,
    })
    .from(datasetFiles)
    .where(and(eq(datasetFiles.tenantId, tenant), eq(datasetFiles.datasetId, datasetId)))
    .orderBy(asc(datasetFiles.path));
  return rows.map(({ uploadedAt, ...file }) => ({ ...file, isVerified: uploadedAt !== null }));
}

/** `missingParts` of a file that comes by parts: how many have not arrived. */
export type FileState =
  { is: 'there' | 'other_size' | 'other_sum' } | { is: 'missing'; missingParts?: number };

/** What lies in the store at a planned file's place. */
export async function fileState(
  store: ObjectStore,
  prefix: string,
  { path, size, sha256, isVerified }: PlannedFile,
): Promise<FileState> {
  const found = await store.head(prefix + path);
  if (found === null) return { is: 'missing' };
  if (found.size !== size) return { is: 'other_size' };
  if (isVerified) return { is: 'there' };
  const sum = found.sha256 ?? (await hashOf(store, prefix + path, size));
  return { is: sum === sha256 ? 'there' : 'other_sum' };
}

/** For a store that has kept no checksum of the object, which is read in pieces. */
async function hashOf(store: ObjectStore, key: string, size: number): Promise<string> {
  const hash = createHash('sha256');
  for (let start = 0; start < size; start += HASH_BYTES) {
    hash.update(await store.get(key, { start, end: Math.min(size, start + HASH_BYTES) }));
  }
  return hash.digest('hex');
}

/** Results in the order of the items, of which `CONCURRENCY` are worked on at a time. */
export async function mapLimited<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const rest = items.entries();
  let hasFailed = false;
  const lane = async (): Promise<void> => {
    for (const [index, item] of rest) {
      if (hasFailed) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, items.length) }, lane));
  return results;
}
