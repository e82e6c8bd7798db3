import { ArmatureError } from '@armature/sdk/contract';
import { DiskStore } from './disk.ts';
import { verifyUploadUrl, type UploadGrant } from './disk-signature.ts';
import type { ObjectStore } from './port.ts';

export interface UploadRequest {
  method: string;
  /** Path and query as they arrived; an absolute URL is read from its path on. */
  url: string;
  /** Header names in lower case. */
  headers: Readonly<Record<string, string | undefined>>;
  body: AsyncIterable<Uint8Array>;
}

export interface UploadReceipt {
  key: string;
  size: number;
  sha256: string;
}

/**
 * The receiving end of `DiskStore.presignPut` and `presignPart`, or null for a store that receives uploads itself.
 * Size, content type, sha256 and expiry are those of the signed URL, enforced while the body
 * streams into a temporary file; a body that differs leaves nothing behind.
 *
 * The handler throws ArmatureError: `forbidden` (signature), `expired_token`, `invalid_request`
 * (method, content-length or content-type other than signed), `not_found` (the part's upload has ended),
 * `payload_too_large`, `incomplete_upload` (the body ended early), `checksum_mismatch`.
 */
export function diskUploadHandler(
  store: ObjectStore,
  now: () => number = Date.now,
): ((request: UploadRequest) => Promise<UploadReceipt>) | null {
  if (!(store instanceof DiskStore)) return null;
  return async (request) => {
    if (request.method !== 'PUT') throw wrong('method', `${request.method} is not PUT`);
    const grant = verifyUploadUrl(request.url, store.config.secret, now());
    checkHeaders(request.headers, grant);
    const { part } = grant;
    if (part !== undefined) await store.needMultipart(grant.key, part.uploadId);
    const writer = await store.beginWrite();
    try {
      for await (const piece of withCause(request.body, grant)) {
        if (writer.size() + piece.length > grant.size) {
          throw new ArmatureError('payload_too_large', `the body exceeds ${grant.size} bytes`, {
            field: grant.key,
            fix: 'Send the file that the plan was made for, or make a new plan.',
          });
        }
        await writer.write(piece);
      }
      if (writer.size() < grant.size) throw incomplete(grant, writer.size());
      if (writer.digest() !== grant.sha256) {
        throw new ArmatureError(
          'checksum_mismatch',
          'the sha256 of the body is not the signed one',
          {
            field: grant.key,
            fix: 'Send the file again; if it has changed since, make a new plan.',
          },
        );
      }
      return { key: grant.key, ...(await writer.commit(grant.key, part)) };
    } catch (error) {
      await writer.abort();
      throw error;
    }
  };
}

function checkHeaders(headers: UploadRequest['headers'], grant: UploadGrant): void {
  const type = headers['content-type'];
  if (type !== grant.contentType) {
    throw wrong('content-type', `must be ${grant.contentType}, is ${type ?? 'absent'}`);
  }
  const length = headers['content-length'];
  if (length !== undefined && length !== String(grant.size)) {
    throw wrong('content-length', `must be ${grant.size}, is ${length}`);
  }
}

/** A connection that breaks while the body is read is an upload that ended early. */
async function* withCause(
  body: AsyncIterable<Uint8Array>,
  grant: UploadGrant,
): AsyncIterable<Uint8Array> {
  let received = 0;
  try {
    for await (const piece of body) {
      received += piece.length;
      yield piece;
    }
  } catch (error) {
    throw incomplete(grant, received, error);
  }
}

function incomplete(grant: UploadGrant, received: number, cause?: unknown): ArmatureError {
  return new ArmatureError(
    'incomplete_upload',
    `the body ended after ${received} of ${grant.size} bytes`,
    { field: grant.key, fix: 'Send the whole file again.', cause },
  );
}

function wrong(field: string, message: string): ArmatureError {
  return new ArmatureError('invalid_request', `${field}: ${message}`, {
    field,
    fix: 'Send the request with the method and headers of the upload plan.',
  });
}
