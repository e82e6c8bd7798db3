import {
  diskDownloadHandler,
  diskUploadHandler,
  STORE_PATH,
  type ObjectStore,
} from '@armature/storage';
import type { Context, Hono } from 'hono';
import type { HttpEnv } from './rest.ts';

/** Receives and sends objects at /store/* by signed URLs when the store is a disk; S3 does so itself. */
export function mountStore(app: Hono<HttpEnv>, store: ObjectStore, clock: () => Date): void {
  const now = () => clock().getTime();
  const [receive, send] = [diskUploadHandler(store, now), diskDownloadHandler(store, now)];
  if (receive === null || send === null) return;
  app.get(`${STORE_PATH}*`, async (c) => {
    const { status, headers, body } = await send({ url: c.req.url, range: c.req.header('range') });
    return c.body(body, status, headers);
  });
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
