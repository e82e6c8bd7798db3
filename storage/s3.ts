import { createHash } from 'node:crypto';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { ArmatureError } from '@armature/sdk/contract';
import { checkKey, checkPrefix, checkRange, checkSha256, notFound } from './key.ts';
import type {
  ByteRange,
  ObjectStore,
  PresignPutOptions,
  PresignedPut,
  StoredObject,
} from './port.ts';

export interface S3StoreConfig {
  kind: 's3';
  endpoint: string;
  region: string;
  bucket: string;
  accessKeyId: string;
  secretAccessKey: string;
  forcePathStyle: boolean;
}

/** Objects in a bucket of any S3 service that keeps sha256 checksums. */
export class S3Store implements ObjectStore {
  private readonly client: S3Client;
  private readonly bucket: string;

  constructor(config: S3StoreConfig) {
    this.bucket = config.bucket;
    this.client = new S3Client({
      endpoint: config.endpoint,
      region: config.region,
      forcePathStyle: config.forcePathStyle,
      credentials: { accessKeyId: config.accessKeyId, secretAccessKey: config.secretAccessKey },
      // Otherwise the SDK signs the CRC32 of an empty body into presigned PUTs.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  async put(
    key: string,
    bytes: Uint8Array,
    options: { contentType?: string } = {},
  ): Promise<{ sha256: string; size: number }> {
    checkKey(key);
    const digest = createHash('sha256').update(bytes).digest();
    await this.client.send(
      new PutObjectCommand({
        ...this.at(key),
        Body: bytes,
        ContentLength: bytes.length,
        ChecksumSHA256: digest.toString('base64'),
        ...(options.contentType === undefined ? {} : { ContentType: options.contentType }),
      }),
    );
    return { sha256: digest.toString('hex'), size: bytes.length };
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    checkKey(key);
    if (range !== undefined) checkRange(range);
    try {
      const answer = await this.client.send(
        new GetObjectCommand({
          ...this.at(key),
          ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` }),
        }),
      );
      if (answer.Body === undefined) throw new Error(`object ${key} came without a body`);
      return await answer.Body.transformToByteArray();
    } catch (error) {
      if (statusOf(error) === 404) throw notFound(key);
      if (statusOf(error) === 416) {
        throw new ArmatureError('invalid_request', `range starts past the end of ${key}`, {
          field: 'range',
          fix: 'Read within the object.',
          cause: error,
        });
      }
      throw error;
    }
  }

  async head(key: string): Promise<{ size: number; sha256?: string } | null> {
    checkKey(key);
    try {
      const answer = await this.client.send(
        new HeadObjectCommand({ ...this.at(key), ChecksumMode: 'ENABLED' }),
      );
      if (answer.ContentLength === undefined) throw new Error(`head of ${key} has no length`);
      const sum = answer.ChecksumSHA256;
      // A multipart upload's checksum (`…-n`) is a sum of sums, not the object's.
      const whole = sum !== undefined && /^[A-Za-z0-9+/]{43}=$/.test(sum);
      return {
        size: answer.ContentLength,
        ...(whole ? { sha256: Buffer.from(sum, 'base64').toString('hex') } : {}),
      };
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw error;
    }
  }

  async *list(prefix: string): AsyncIterable<StoredObject> {
    checkPrefix(prefix);
    let token: string | undefined;
    do {
      const answer = await this.client.send(
        new ListObjectsV2Command({
          Bucket: this.bucket,
          Prefix: prefix,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
      );
      for (const item of answer.Contents ?? []) {
        const { Key: key, Size: size, LastModified: modifiedAt } = item;
        if (key === undefined || size === undefined || modifiedAt === undefined) continue;
        yield { key, size, modifiedAt };
      }
      token = answer.NextContinuationToken;
    } while (token !== undefined);
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    try {
      await this.client.send(new DeleteObjectCommand(this.at(key)));
    } catch (error) {
      if (statusOf(error) !== 404) throw error;
    }
  }

  async deletePrefix(prefix: string): Promise<number> {
    const keys: string[] = [];
    for await (const { key } of this.list(prefix)) keys.push(key);
    for (let start = 0; start < keys.length; start += 1000) {
      const Objects = keys.slice(start, start + 1000).map((Key) => ({ Key }));
      const answer = await this.client.send(
        new DeleteObjectsCommand({ Bucket: this.bucket, Delete: { Objects, Quiet: true } }),
      );
      const failed = answer.Errors?.[0];
      if (failed !== undefined) {
        throw new Error(`could not delete an object: ${JSON.stringify(failed)}`);
      }
    }
    return keys.length;
  }

  async copy(from: string, to: string): Promise<void> {
    checkKey(from);
    checkKey(to);
    try {
      await this.client.send(
        new CopyObjectCommand({
          ...this.at(to),
          CopySource: `${this.bucket}/${from}`,
          ChecksumAlgorithm: 'SHA256',
        }),
      );
    } catch (error) {
      if (statusOf(error) === 404) throw notFound(from);
      throw error;
    }
  }

  /** Size, type and sha256 are signed headers, so that the service refuses any other body. */
  async presignPut(key: string, options: PresignPutOptions): Promise<PresignedPut> {
    checkKey(key);
    checkSha256(options.sha256);
    const sum = Buffer.from(options.sha256, 'hex').toString('base64');
    const url = await getSignedUrl(
      this.client,
      new PutObjectCommand({
        ...this.at(key),
        ContentLength: options.size,
        ContentType: options.contentType,
        ChecksumSHA256: sum,
      }),
      {
        expiresIn: options.expiresInS,
        signableHeaders: new Set(['host', 'content-length', 'content-type']),
        unhoistableHeaders: new Set(['x-amz-checksum-sha256']),
      },
    );
    return {
      url,
      method: 'PUT',
      headers: { 'content-type': options.contentType, 'x-amz-checksum-sha256': sum },
    };
  }

  async presignGet(key: string, expiresInS: number): Promise<string> {
    checkKey(key);
    return getSignedUrl(this.client, new GetObjectCommand(this.at(key)), { expiresIn: expiresInS });
  }

  private at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: key };
  }
}

function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}
