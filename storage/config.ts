import { ArmatureError } from '@armature/sdk/contract';
import { DiskStore, type DiskStoreConfig } from './disk.ts';
import { lazyStore } from './lazy.ts';
import { S3_MIN_PART_BYTES, type ObjectStore } from './port.ts';
import type { S3StoreConfig } from './s3.ts';

export type StoreConfig = DiskStoreConfig | S3StoreConfig;

/** The store of a configuration; the AWS SDK is loaded by the first use of an S3 one. */
export function openStore(config: StoreConfig): ObjectStore {
  if (config.kind === 'disk') return new DiskStore(config);
  return lazyStore(async () => {
    const { S3Store } = await import('./s3.ts');
    return new S3Store(config);
  }, S3_MIN_PART_BYTES);
}

/**
 * Reads STORE_KIND=disk with STORE_ROOT, STORE_PUBLIC_URL, STORE_SECRET, or STORE_KIND=s3 with
 * S3_ENDPOINT, S3_REGION, S3_BUCKET, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and, for virtual-hosted
 * buckets, S3_FORCE_PATH_STYLE=false.
 * @throws ArmatureError `invalid_request` naming the variable.
 */
export function storeConfigFromEnv(env: Readonly<Record<string, string | undefined>>): StoreConfig {
  const need = (name: string): string => {
    const value = env[name];
    if (value === undefined || value === '') throw missing(name, 'is not set');
    return value;
  };
  const kind = need('STORE_KIND');
  if (kind === 'disk') {
    return {
      kind,
      root: need('STORE_ROOT'),
      publicUrl: need('STORE_PUBLIC_URL'),
      secret: need('STORE_SECRET'),
    };
  }
  if (kind === 's3') {
    return {
      kind,
      endpoint: need('S3_ENDPOINT'),
      region: need('S3_REGION'),
      bucket: need('S3_BUCKET'),
      accessKeyId: need('S3_ACCESS_KEY_ID'),
      secretAccessKey: need('S3_SECRET_ACCESS_KEY'),
      forcePathStyle: env['S3_FORCE_PATH_STYLE'] !== 'false',
    };
  }
  throw missing('STORE_KIND', `is ${kind}, not disk or s3`);
}

function missing(field: string, message: string): ArmatureError {
  return new ArmatureError('invalid_request', `${field} ${message}`, {
    field,
    fix: `Set ${field} in the environment.`,
  });
}
