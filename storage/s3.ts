import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { ArmatureError } from '@armature/sdk/contract';
import {
  checkKey,
  checkPartNumber,
  checkPartOrder,
  checkPrefix,
  checkRange,
  checkSha256,
  noMultipart,
  notFound,
  otherParts,
} from './key.ts';
import {
  S3_MIN_PART_BYTES,
  type ByteRange,
  type ObjectStore,
  type OpenMultipart,
  type PresignPartOptions,
  type PresignPutOptions,
  type PresignedPut,
  type StoredObject,
  type StoredPart,
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
      return { size: answer.ContentLength, ...sumOf(answer.ChecksumSHA256) };
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
    for await (const { key, uploadId } of this.listMultiparts(prefix)) {
      await this.abortMultipart(key, uploadId);
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

  readonly minPartBytes = S3_MIN_PART_BYTES;

  async createMultipart(key: string, { contentType }: { contentType: string }): Promise<string> {
    checkKey(key);
    const { UploadId } = await this.client.send(
      new CreateMultipartUploadCommand({
        ...this.at(key),
        ContentType: contentType,
        ChecksumAlgorithm: 'SHA256',
      }),
    );
    if (UploadId === undefined) throw new Error(`a multipart upload of ${key} came without an id`);
    return UploadId;
  }

  /** Size and sha256 are signed headers, as in `presignPut`. */
  async presignPart(key: string, options: PresignPartOptions): Promise<PresignedPut> {
    checkKey(key);
    checkPartNumber(options.number);
    checkSha256(options.sha256);
    const sum = Buffer.from(options.sha256, 'hex').toString('base64');
    const url = await getSignedUrl(
      this.client,
      new UploadPartCommand({
        ...this.at(key),
        UploadId: options.uploadId,
        PartNumber: options.number,
        ContentLength: options.size,
        ChecksumSHA256: sum,
      }),
      {
        expiresIn: options.expiresInS,
        signableHeaders: new Set(['host', 'content-length']),
        unhoistableHeaders: new Set(['x-amz-checksum-sha256']),
      },
    );
    return { url, method: 'PUT', headers: { 'x-amz-checksum-sha256': sum } };
  }

  async listParts(key: string, uploadId: string): Promise<StoredPart[] | null> {
    checkKey(key);
    const parts: StoredPart[] = [];
    let marker: string | undefined;
    try {
      do {
        const answer = await this.client.send(
          new ListPartsCommand({
            ...this.at(key),
            UploadId: uploadId,
            ...(marker === undefined ? {} : { PartNumberMarker: marker }),
          }),
        );
        for (const { PartNumber: number, Size: size, ETag: etag, ChecksumSHA256 } of answer.Parts ??
          []) {
          if (number === undefined || size === undefined || etag === undefined) continue;
          parts.push({ number, size, etag, ...sumOf(ChecksumSHA256) });
        }
        marker = answer.IsTruncated === true ? answer.NextPartNumberMarker : undefined;
      } while (marker !== undefined);
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw error;
    }
    return parts;
  }

  async completeMultipart(
    key: string,
    uploadId: string,
    parts: readonly StoredPart[],
  ): Promise<void> {
    checkKey(key);
    checkPartOrder(parts);
    try {
      await this.client.send(
        new CompleteMultipartUploadCommand({
          ...this.at(key),
          UploadId: uploadId,
          MultipartUpload: {
            Parts: parts.map(({ number, etag, sha256 }) => ({
              PartNumber: number,
              ETag: etag,
              ...(sha256 === undefined
                ? {}
                : { ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64') }),
            })),
          },
        }),
      );
    } catch (error) {
      if (statusOf(error) === 404) throw noMultipart(key, uploadId);
      if (statusOf(error) === 400) throw otherParts(key, error);
      throw error;
    }
  }

  async abortMultipart(key: string, uploadId: string): Promise<void> {
    checkKey(key);
    try {
      await this.client.send(
        new AbortMultipartUploadCommand({ ...this.at(key), UploadId: uploadId }),
      );
    } catch (error) {
      if (statusOf(error) !== 404) throw error;
    }
  }

  async *listMultiparts(prefix: string): AsyncIterable<OpenMultipart> {
    checkPrefix(prefix);
    let marker: { KeyMarker: string; UploadIdMarker?: string } | undefined;
    do {
      const answer = await this.client.send(
        new ListMultipartUploadsCommand({ Bucket: this.bucket, Prefix: prefix, ...marker }),
      );
      for (const { Key: key, UploadId: uploadId, Initiated: startedAt } of answer.Uploads ?? []) {
        if (key === undefined || uploadId === undefined || startedAt === undefined) continue;
        yield { key, uploadId, startedAt };
      }
      const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = answer;
      marker =
        IsTruncated === true && NextKeyMarker !== undefined
          ? {
              KeyMarker: NextKeyMarker,
              ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
            }
          : undefined;
    } while (marker !== undefined);
  }

  private at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: key };
  }
}

/** The checksum of one body; that of a multipart upload (`…-n`) is a sum of sums, not the object's. */
function sumOf(sum: string | undefined): { sha256?: string } {
  if (sum === undefined || !/^[A-Za-z0-9+/]{43}=$/.test(sum)) return {};
  return { sha256: Buffer.from(sum, 'base64').toString('hex') };
}

function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}
