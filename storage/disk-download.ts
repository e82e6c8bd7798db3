import { ArmatureError } from '@armature/sdk/contract';
import { DiskStore } from './disk.ts';
import { verifyDownloadUrl } from './disk-signature.ts';
import type { ByteRange, ObjectStore } from './port.ts';

export interface DownloadRequest {
  /** Path and query as they arrived; an absolute URL is read from its path on. */
  url: string;
  /** The `range` header; only `bytes=N-` and `bytes=N-M` are read, others are answered whole. */
  range: string | undefined;
}

export interface Download {
  /** 200 with the whole object, or 206 with the range. */
  status: 200 | 206;
  headers: Record<string, string>;
  body: ReadableStream<Uint8Array>;
}

/** Bytes read at a time. */
const PIECE = 1 << 20;

/**
 * The sending end of `DiskStore.presignGet`, or null for a store that sends its objects itself.
 *
 * The handler throws ArmatureError: `forbidden` (signature), `expired_token`, `not_found`,
 * `invalid_request` (a range that starts past the end).
 */
export function diskDownloadHandler(
  store: ObjectStore,
  now: () => number = Date.now,
): ((request: DownloadRequest) => Promise<Download>) | null {
  if (!(store instanceof DiskStore)) return null;
  return async ({ url, range }) => {
    const { key } = verifyDownloadUrl(url, store.config.secret, now());
    const info = await store.head(key);
    if (info === null) {
      throw new ArmatureError('not_found', 'there is no such object', {
        fix: 'Ask for the URL again; what it named may have been removed.',
      });
    }
    const part = rangeOf(range, info.size);
    const { start, end } = part ?? { start: 0, end: info.size };
    return {
      status: part === null ? 200 : 206,
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(end - start),
        'accept-ranges': 'bytes',
        'cache-control': 'private, no-store',
        ...(part === null ? {} : { 'content-range': `bytes ${start}-${end - 1}/${info.size}` }),
      },
      body: bytesOf(store, key, { start, end }),
    };
  };
}

function rangeOf(header: string | undefined, size: number): ByteRange | null {
  const match = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header ?? '');
  if (match === null) return null;
  const start = Number(match[1]);
  const end = match[2] === '' ? size : Math.min(size, Number(match[2]) + 1);
  if (start < end) return { start, end };
  throw new ArmatureError('invalid_request', `range starts at ${start} of ${size} bytes`, {
    field: 'range',
    fix: 'Read within the object.',
  });
}

function bytesOf(store: DiskStore, key: string, { start, end }: ByteRange) {
  let at = start;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (at >= end) {
        controller.close();
        return;
      }
      const bytes = await store.get(key, { start: at, end: Math.min(end, at + PIECE) });
      at += bytes.length;
      controller.enqueue(bytes);
    },
  });
}
