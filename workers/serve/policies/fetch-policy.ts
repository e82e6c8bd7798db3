import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { ArmatureError } from '@armature/sdk/contract';
import type { ObjectStore } from '@armature/storage';
import type { PolicyManifest } from './port.ts';

/** A policy version as a session token names it. */
export interface PolicyRef {
  readonly tenant: string;
  readonly versionId: string;
  /** sha256 of the manifest, hexadecimal. */
  readonly digest: string;
  /** Object-store prefix, `tenants/{tenant}/policies/…/`. */
  readonly prefix: string;
}

export interface FetchedPolicy {
  readonly manifest: PolicyManifest;
  readonly files: Record<string, Uint8Array>;
}

/** Largest version that is fetched, bytes. */
const MAX_BYTES = 2 ** 30;
/** Digested in one go, bytes: some tenths of a millisecond. */
const PIECE_BYTES = 2 ** 18;

/**
 * Reads a version from the object store and checks every byte of it against the digest.
 * @param readManifest throws for bytes that are no manifest.
 * @throws ArmatureError `not_found`, `incompatible_policy` or `checksum_mismatch`.
 */
export async function fetchPolicy(
  store: Pick<ObjectStore, 'get'>,
  ref: PolicyRef,
  readManifest: (bytes: Uint8Array) => PolicyManifest,
): Promise<FetchedPolicy> {
  if (!ref.prefix.startsWith(`tenants/${ref.tenant}/policies/`) || !ref.prefix.endsWith('/')) {
    throw new ArmatureError(
      'forbidden',
      `${ref.versionId} does not lie with tenant ${ref.tenant}`,
      {
        field: 'policy.prefix',
        fix: 'Create the session anew.',
      },
    );
  }
  const bytes = await store.get(`${ref.prefix}manifest.json`);
  if ((await sha256(bytes)) !== ref.digest) throw mismatch(ref, 'manifest.json');
  const manifest = parse(readManifest, bytes, ref);
  const parts = Object.entries(manifest.files);
  const total = parts.reduce((sum, [, { size }]) => sum + size, 0);
  if (total > MAX_BYTES) {
    throw new ArmatureError('incompatible_policy', `${ref.versionId} holds ${total} bytes`, {
      field: 'policy',
      fix: `Serve a version of at most ${MAX_BYTES} bytes.`,
    });
  }
  const files = await Promise.all(
    parts.map(async ([name, expected]) => {
      const content = await store.get(`${ref.prefix}${name}`);
      if (content.byteLength !== expected.size || (await sha256(content)) !== expected.sha256) {
        throw mismatch(ref, name);
      }
      return [name, content] as const;
    }),
  );
  return { manifest, files: Object.fromEntries(files) };
}

function parse(
  readManifest: (bytes: Uint8Array) => PolicyManifest,
  bytes: Uint8Array,
  ref: PolicyRef,
): PolicyManifest {
  try {
    return readManifest(bytes);
  } catch (cause) {
    throw new ArmatureError('incompatible_policy', `${ref.versionId} has no readable manifest`, {
      field: 'policy',
      fix: 'Deploy a version that this release can read.',
      cause,
    });
  }
}

/** In pieces between which the event loop turns: robots are served meanwhile. */
async function sha256(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    if (at > 0) await setImmediate();
    hash.update(bytes.subarray(at, at + PIECE_BYTES));
  }
  return hash.digest('hex');
}

function mismatch(ref: PolicyRef, name: string): ArmatureError {
  return new ArmatureError(
    'checksum_mismatch',
    `${name} of ${ref.versionId} is not what its digest says`,
    { field: 'policy.digest', fix: 'Deploy another version; this one is damaged in the store.' },
  );
}
