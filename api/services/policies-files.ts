import { createHash } from 'node:crypto';
import { withTenant } from '@armature/db';
import { z } from 'zod';
import type { Service } from './context.ts';
import { findPolicyVersion, needFiles } from './find.ts';

/** How long the URLs are good, which a transfer that has begun may outlast. */
const EXPIRES_S = 3600;
const MANIFEST = 'manifest.json';
const manifestSchema = z.object({
  files: z.record(z.string(), z.object({ sha256: z.string(), size: z.number().int() })),
});

/** A presigned URL for each file of a version, which its manifest names with size and digest. */
export const listPolicyFiles: Service<'policies.files'> = async (ctx, { id }) => {
  const version = await withTenant(ctx.db, ctx.tenant, (tx) =>
    findPolicyVersion(tx, ctx.tenant, id),
  );
  needFiles(version, 'id');
  const { digest, prefix } = version;
  const bytes = await ctx.store.get(prefix + MANIFEST);
  const actual = createHash('sha256').update(bytes).digest('hex');
  if (actual !== digest) {
    throw new Error(`the manifest of policy version ${id} has sha256 ${actual}, not its digest`);
  }
  const manifest = manifestSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  const named = { [MANIFEST]: { sha256: digest, size: bytes.length }, ...manifest.files };
  const expiresAt = new Date(ctx.clock().getTime() + EXPIRES_S * 1000);
  const files = Object.entries(named).map(async ([path, { sha256, size }]) => ({
    path,
    size,
    sha256,
    url: await ctx.store.presignGet(prefix + path, EXPIRES_S),
  }));
  return { id, digest, files: await Promise.all(files), expires_at: expiresAt.toISOString() };
};
