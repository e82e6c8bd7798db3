import type { UploadPart } from '@armature/sdk/contract';
import type { TenantContext } from './context.ts';
import {
  CONTENT_TYPE,
  mapLimited,
  UPLOAD_EXPIRES_S,
  type PlannedFile,
  type SetPlace,
} from './dataset-files.ts';
import { isLarge, presignMissing } from './dataset-parts.ts';

/** A URL for each file that is sent whole, and for each part that has not arrived of those that are not. */
export async function presignFiles(
  ctx: Pick<TenantContext, 'db' | 'store' | 'tenant'>,
  set: SetPlace,
  files: readonly PlannedFile[],
): Promise<UploadPart[]> {
  const uploads = await mapLimited(files, async (file) => {
    if (isLarge(file)) return presignMissing(ctx, set, file);
    const { path, size, sha256 } = file;
    const { url, method, headers } = await ctx.store.presignPut(set.prefix + path, {
      size,
      sha256,
      contentType: CONTENT_TYPE,
      expiresInS: UPLOAD_EXPIRES_S,
    });
    return [{ path, url, method, headers, size }];
  });
  return uploads.flat();
}
