import { diskUploadHandler, STORE_PATH, type ObjectStore } from '@armature/storage';
import type { Context, Hono } from 'hono';
import type { HttpEnv } from './rest.ts';

/** Receives signed uploads at /store/* when the object store is a disk; S3 takes its own. */
export function mountUploads(app: Hono<HttpEnv>, store: ObjectStore, clock: () => Date): void {
  const receive = diskUploadHandler(store, () => clock().getTime());
  if (receive === null) return;
  app.put(`${STORE_PATH}*`, async (c) => {
    const { size, sha256 } = await receive({
      method: c.req.method,
      url: c.req.url,
      headers: c.req.header(),
      body: bodyOf(c),
    });
    return c.json({ size, sha256 });
  });
}

/** Node's own stream where there is one: it is cheaper, and it fails when the connection breaks. */
function bodyOf(c: Context): AsyncIterable<Uint8Array> {
  const env = c.env as { incoming?: AsyncIterable<Uint8Array> } | undefined;
  return env?.incoming ?? ((c.req.raw.body ?? []) as AsyncIterable<Uint8Array>);
}
