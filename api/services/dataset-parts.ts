import { and, datasetFiles, eq, isNull, sql, withTenant } from '@armature/db';
import { ArmatureError, type FilePart, type UploadPart } from '@armature/sdk/contract';
import type { StoredPart } from '@armature/storage';
import type { TenantContext } from './context.ts';
import {
  CONTENT_TYPE,
  fileState,
  mapLimited,
  UPLOAD_EXPIRES_S,
  type FileState,
  type PlannedFile,
  type SetPlace,
} from './dataset-files.ts';

/** A planned file that comes by parts. */
export type LargeFile = PlannedFile & { readonly parts: readonly FilePart[] };
type Uploads = Pick<TenantContext, 'db' | 'store' | 'tenant'>;

export const isLarge = (file: PlannedFile): file is LargeFile => file.parts !== null;

/**
 * URLs for the parts of a file that have not arrived. An upload of it is begun where none is open; one that
 * a request beside this one has begun is used.
 */
export async function presignMissing(
  ctx: Uploads,
  set: SetPlace,
  file: LargeFile,
): Promise<UploadPart[]> {
  const key = set.prefix + file.path;
  const open = await openUpload(ctx, set, file);
  if (open === null) return [];
  return mapLimited(missingOf(file, open.parts), async ({ number, offset, size, sha256 }) => {
    const { url, method, headers } = await ctx.store.presignPart(key, {
      uploadId: open.uploadId,
      number,
      size,
      sha256,
      expiresInS: UPLOAD_EXPIRES_S,
    });
    return { path: file.path, url, method, headers, size, part: { number, offset } };
  });
}

/** Null where the object is there already. */
async function openUpload(
  ctx: Uploads,
  set: SetPlace,
  file: LargeFile,
): Promise<{ uploadId: string; parts: StoredPart[] } | null> {
  const key = set.prefix + file.path;
  let { uploadId } = file;
  if (uploadId !== null) {
    const parts = await ctx.store.listParts(key, uploadId);
    if (parts !== null) return { uploadId, parts };
    if ((await ctx.store.head(key)) !== null) return null;
    // It was aborted, or the store has lost it.
    await forgetUpload(ctx, set, file);
  }
  const begun = await ctx.store.createMultipart(key, { contentType: CONTENT_TYPE });
  uploadId = await keepUpload(ctx, set, file, begun);
  if (uploadId === begun) return { uploadId, parts: [] };
  await ctx.store.abortMultipart(key, begun);
  const parts = uploadId === null ? null : await ctx.store.listParts(key, uploadId);
  if (uploadId !== null && parts !== null) return { uploadId, parts };
  throw new ArmatureError('conflict', `the upload of ${file.path} was ended meanwhile`, {
    field: file.path,
    fix: 'Ask for the upload plan again.',
  });
}

/** The id that the row has then: the first one that was kept. Null where the file is planned no more. */
async function keepUpload(
  ctx: Uploads,
  set: SetPlace,
  file: LargeFile,
  uploadId: string,
): Promise<string | null> {
  return withTenant(ctx.db, ctx.tenant, async (tx) => {
    const mine = rowOf(ctx, set, file);
    await tx
      .update(datasetFiles)
      .set({ uploadId })
      .where(and(mine, isNull(datasetFiles.uploadId)));
    const [row] = await tx
      .select({ uploadId: datasetFiles.uploadId })
      .from(datasetFiles)
      .where(mine);
    return row?.uploadId ?? null;
  });
}

async function forgetUpload(ctx: Uploads, set: SetPlace, file: LargeFile): Promise<void> {
  const { uploadId } = file;
  if (uploadId === null) return;
  await withTenant(ctx.db, ctx.tenant, (tx) =>
    tx
      .update(datasetFiles)
      .set({ uploadId: null })
      .where(and(rowOf(ctx, set, file), eq(datasetFiles.uploadId, uploadId))),
  );
}

/**
 * Joins the parts of a file, once all have arrived, and verifies the whole by its size and sha256; that it
 * was is kept, so that a large file is read once. What turns out to be another file is taken away.
 */
export async function joinParts(ctx: Uploads, set: SetPlace, file: LargeFile): Promise<FileState> {
  const { store } = ctx;
  const key = set.prefix + file.path;
  const listed = file.uploadId === null ? null : await store.listParts(key, file.uploadId);
  if (file.uploadId !== null && listed !== null) {
    const missingParts = missingOf(file, listed).length;
    if (missingParts > 0) return { is: 'missing', missingParts };
    const joined = listed.filter(({ number }) => number <= file.parts.length);
    await store.completeMultipart(key, file.uploadId, joined).catch((error: unknown) => {
      // A request beside this one has joined them.
      if (!(error instanceof ArmatureError && error.code === 'not_found')) throw error;
    });
  }
  const state = await fileState(store, set.prefix, file);
  if (state.is === 'there' && !file.isVerified) {
    await withTenant(ctx.db, ctx.tenant, (tx) =>
      tx
        .update(datasetFiles)
        .set({ uploadedAt: sql`now()` })
        .where(rowOf(ctx, set, file)),
    );
  }
  if (state.is === 'missing') return { is: 'missing', missingParts: file.parts.length };
  if (state.is !== 'there') await store.delete(key);
  return state;
}

/**
 * The parts of a file that have not arrived, with their places in it. A store that keeps no part's sha256 has
 * checked it as the part came.
 */
function missingOf(file: LargeFile, listed: readonly StoredPart[]) {
  const found = new Map(listed.map((part) => [part.number, part]));
  let end = 0;
  const placed = file.parts.map((part, index) => {
    end += part.size;
    return { ...part, number: index + 1, offset: end - part.size };
  });
  return placed.filter(({ number, size, sha256 }) => {
    const part = found.get(number);
    return part?.size !== size || (part.sha256 ?? sha256) !== sha256;
  });
}

function rowOf({ tenant }: Uploads, { id }: SetPlace, { path }: PlannedFile) {
  return and(
    eq(datasetFiles.tenantId, tenant),
    eq(datasetFiles.datasetId, id),
    eq(datasetFiles.path, path),
  );
}
