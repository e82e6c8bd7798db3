import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findVersitygw, startVersitygw, type RunningVersitygw } from '../test/support/versitygw.ts';
import { objectStoreContract } from './contract.suite.ts';
import { openStore } from './config.ts';
import type { ObjectStore } from './port.ts';
import { S3Store } from './s3.ts';

const binary = findVersitygw();
if (binary === null && process.env['ARMATURE_REQUIRE_S3'] === '1') {
  throw new Error('ARMATURE_REQUIRE_S3 is 1 and there is no versitygw');
}
if (binary === null) {
  process.stderr.write(
    'S3 suite skipped: no versitygw; with Go, npx tsx test/support/install-versitygw.ts builds it\n',
  );
}
const bucket = 'armature-test';
const config = {
  kind: 's3',
  region: 'us-east-1',
  bucket,
  forcePathStyle: true,
} as const;

describe.skipIf(binary === null)('S3 store on versitygw', () => {
  let server: RunningVersitygw;
  let store: ObjectStore;

  beforeAll(async () => {
    if (binary === null) return;
    server = await startVersitygw(binary);
    const { endpoint, accessKeyId, secretAccessKey } = server;
    const client = new S3Client({
      endpoint,
      region: config.region,
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey },
    });
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    store = openStore({ ...config, endpoint, accessKeyId, secretAccessKey });
  });
  afterAll(async () => server.stop());

  objectStoreContract(() => store);
});

describe('S3 presigned URL', () => {
  it('signs host, length, type and checksum as headers, and no checksum of an empty body', async () => {
    const store = new S3Store({
      ...config,
      endpoint: 'http://127.0.0.1:9',
      accessKeyId: 'a',
      secretAccessKey: 'b',
    });
    const { url, headers } = await store.presignPut('tenants/ten_a/file', {
      size: 5,
      sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
      contentType: 'application/octet-stream',
      expiresInS: 60,
    });
    const query = new URL(url).searchParams;
    expect(query.get('X-Amz-SignedHeaders')?.split(';').sort()).toEqual(
      ['content-length', 'content-type', 'host', 'x-amz-checksum-sha256'].sort(),
    );
    expect(query.get('X-Amz-Expires')).toBe('60');
    expect([...query.keys()].filter((name) => /checksum|crc32/i.test(name))).toEqual([]);
    expect(headers).toEqual({
      'content-type': 'application/octet-stream',
      'x-amz-checksum-sha256': 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=',
    });
  });

  it('of a part signs host, length and checksum, with the upload and the number in the query', async () => {
    const store = new S3Store({
      ...config,
      endpoint: 'http://127.0.0.1:9',
      accessKeyId: 'a',
      secretAccessKey: 'b',
    });
    const { url, headers } = await store.presignPart('tenants/ten_a/file', {
      uploadId: 'u-1',
      number: 7,
      size: 5,
      sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
      expiresInS: 60,
    });
    const query = new URL(url).searchParams;
    expect(query.get('X-Amz-SignedHeaders')?.split(';').sort()).toEqual(
      ['content-length', 'host', 'x-amz-checksum-sha256'].sort(),
    );
    expect([query.get('uploadId'), query.get('partNumber')]).toEqual(['u-1', '7']);
    expect([...query.keys()].filter((name) => /checksum|crc32/i.test(name))).toEqual([]);
    expect(headers).toEqual({
      'x-amz-checksum-sha256': 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=',
    });
  });
});
