import { createHmac, timingSafeEqual } from 'node:crypto';
import { ArmatureError } from '@armature/sdk/contract';
import type { PartPlace } from './disk-parts.ts';
import { checkKey } from './key.ts';

/** Path under which the upload handler is mounted at the store's public URL. */
export const STORE_PATH = '/store/';

/** What a signed upload URL grants. `expires` in whole seconds since the Unix epoch. */
export interface UploadGrant {
  key: string;
  size: number;
  sha256: string;
  contentType: string;
  expires: number;
  /** Where the body is a part of a multipart upload. */
  part?: PartPlace;
}

/** `publicUrl` + `/store/{key}?expires&size&sha256&type[&upload&part]&signature`. */
export function signUploadUrl(publicUrl: string, secret: string, grant: UploadGrant): string {
  const url = new URL(STORE_PATH.slice(1) + grant.key, publicUrl.replace(/\/*$/, '/'));
  url.searchParams.set('expires', String(grant.expires));
  url.searchParams.set('size', String(grant.size));
  url.searchParams.set('sha256', grant.sha256);
  url.searchParams.set('type', grant.contentType);
  if (grant.part !== undefined) {
    url.searchParams.set('upload', grant.part.uploadId);
    url.searchParams.set('part', String(grant.part.number));
  }
  url.searchParams.set('signature', uploadSignature(secret, grant).toString('base64url'));
  return url.href;
}

/** What a signed download URL grants. */
export type DownloadGrant = Pick<UploadGrant, 'key' | 'expires'>;

/** `publicUrl` + `/store/{key}?expires&signature`. */
export function signDownloadUrl(publicUrl: string, secret: string, grant: DownloadGrant): string {
  const url = new URL(STORE_PATH.slice(1) + grant.key, publicUrl.replace(/\/*$/, '/'));
  url.searchParams.set('expires', String(grant.expires));
  url.searchParams.set('signature', downloadSignature(secret, grant).toString('base64url'));
  return url.href;
}

/**
 * The grant of a signed download URL; an upload's signature is none of a download.
 * @throws as `verifyUploadUrl`.
 */
export function verifyDownloadUrl(rawUrl: string, secret: string, now: number): DownloadGrant {
  const { key, query } = partsOf(rawUrl);
  const grant = { key, expires: whole(query.get('expires')) };
  checkSignature(query, downloadSignature(secret, grant));
  checkKey(key);
  checkExpiry(grant, now);
  return grant;
}

/**
 * The grant of a signed upload URL (absolute, or a path with its query).
 * @throws ArmatureError `forbidden` for a signature that is not ours, `expired_token` after expiry.
 */
export function verifyUploadUrl(rawUrl: string, secret: string, now: number): UploadGrant {
  const { key, query } = partsOf(rawUrl);
  const uploadId = query.get('upload');
  const grant: UploadGrant = {
    key,
    expires: whole(query.get('expires')),
    size: whole(query.get('size')),
    sha256: query.get('sha256') ?? '',
    contentType: query.get('type') ?? '',
    ...(uploadId === null ? {} : { part: { uploadId, number: whole(query.get('part')) } }),
  };
  checkSignature(query, uploadSignature(secret, grant));
  checkKey(grant.key);
  checkExpiry(grant, now);
  return grant;
}

function partsOf(rawUrl: string): { key: string; query: URLSearchParams } {
  const path = rawUrl.replace(/^https?:\/\/[^/]*/, '');
  const at = path.indexOf('?');
  const start = path.indexOf(STORE_PATH);
  if (at < 0 || start < 0 || start > at) throw forbidden();
  const query = new URLSearchParams(path.slice(at + 1));
  return { key: path.slice(start + STORE_PATH.length, at), query };
}

function checkSignature(query: URLSearchParams, expected: Buffer): void {
  const given = Buffer.from(query.get('signature') ?? '', 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw forbidden();
}

function checkExpiry({ expires }: DownloadGrant, now: number): void {
  if (now < expires * 1000) return;
  throw new ArmatureError('expired_token', 'the signed URL has expired', {
    field: 'expires',
    fix: 'Ask for a new URL where this one came from, and use that.',
  });
}

function downloadSignature(secret: string, { key, expires }: DownloadGrant): Buffer {
  const text = ['armature-download-v1', 'GET', key, expires];
  return createHmac('sha256', secret).update(JSON.stringify(text)).digest();
}

function uploadSignature(secret: string, grant: UploadGrant): Buffer {
  const { part } = grant;
  const text = [
    part === undefined ? 'armature-upload-v1' : 'armature-part-v1',
    'PUT',
    grant.key,
    grant.expires,
    grant.size,
    grant.sha256,
    grant.contentType,
    ...(part === undefined ? [] : [part.uploadId, part.number]),
  ];
  return createHmac('sha256', secret).update(JSON.stringify(text)).digest();
}

function whole(text: string | null): number {
  if (text === null || !/^\d{1,15}$/.test(text)) throw forbidden();
  return Number(text);
}

function forbidden(): ArmatureError {
  return new ArmatureError('forbidden', 'the URL carries no valid signature', {
    field: 'signature',
    fix: 'Use the URL unchanged, as it was given.',
  });
}
