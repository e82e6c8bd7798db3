/** Half-open range of bytes: `start` inclusive, `end` exclusive; an `end` past the object is cut. */
export interface ByteRange {
  start: number;
  end: number;
}

export interface PresignPutOptions {
  /** Exact size of the body in bytes. */
  size: number;
  /** Exact sha256 of the body, 64 lower-case hexadecimal digits. */
  sha256: string;
  contentType: string;
  /** Validity in seconds, 1 to 604 800 (seven days, the longest S3 allows). */
  expiresInS: number;
}

/** Least bytes of every part but the last of a multipart upload to S3. */
export const S3_MIN_PART_BYTES = 5 * 2 ** 20;

/** One part of a multipart upload. */
export interface PresignPartOptions {
  uploadId: string;
  /** 1 to 10,000; the parts are joined in the order of their numbers. */
  number: number;
  /** Exact size of the part in bytes. */
  size: number;
  /** Exact sha256 of the part, 64 lower-case hexadecimal digits. */
  sha256: string;
  /** As in `PresignPutOptions`. */
  expiresInS: number;
}

/** A part that has arrived. */
export interface StoredPart {
  number: number;
  size: number;
  /** In hexadecimal, where the store knows it. */
  sha256?: string;
  /** What the store calls the part's present body. */
  etag: string;
}

/** A multipart upload that is neither completed nor aborted. */
export interface OpenMultipart {
  key: string;
  uploadId: string;
  startedAt: Date;
}

/** An object as a list shows it. */
export interface StoredObject {
  key: string;
  size: number;
  modifiedAt: Date;
}

/** What an uploader sends: exactly `size` bytes, with these headers and a content-length. */
export interface PresignedPut {
  url: string;
  method: 'PUT';
  headers: Record<string, string>;
}

/**
 * A flat space of immutable-by-convention objects. Keys are `/`-separated segments of
 * `[A-Za-z0-9._-]`, at most 900 characters, and no key lies below another (`a` and `a/b`).
 * Every method throws `ArmatureError` `invalid_request` for a malformed key.
 */
export interface ObjectStore {
  /** Writes an object whole or not at all, replacing one of that key; durable when it resolves. */
  put(
    key: string,
    bytes: Uint8Array,
    options?: { contentType?: string },
  ): Promise<{ sha256: string; size: number }>;
  /**
   * @throws ArmatureError `not_found` where there is no such object, `invalid_request` for a range
   * that is empty or starts at or past the object's end.
   */
  get(key: string, range?: ByteRange): Promise<Uint8Array>;
  /** Size in bytes, and sha256 in hexadecimal where the store knows it; null when absent. */
  head(key: string): Promise<{ size: number; sha256?: string } | null>;
  /**
   * Objects whose key starts with `prefix` (any string of key characters), in byte order, with the time of
   * their last put by the store's clock.
   */
  list(prefix: string): AsyncIterable<StoredObject>;
  /** Deletes an object; deleting one that is not there is no error. */
  delete(key: string): Promise<void>;
  /**
   * Deletes every object whose key starts with `prefix` and aborts the multipart uploads of such keys;
   * returns how many objects there were.
   */
  deletePrefix(prefix: string): Promise<number>;
  /** @throws ArmatureError `not_found` when `from` is absent. */
  copy(from: string, to: string): Promise<void>;
  /** A URL that stores one exact body under `key` until it expires, and nothing else. */
  presignPut(key: string, options: PresignPutOptions): Promise<PresignedPut>;
  /**
   * A URL that reads one object until it expires, whole or by one `range`, and nothing else.
   * @param expiresInS as in `PresignPutOptions`.
   */
  presignGet(key: string, expiresInS: number): Promise<string>;
  /** Least bytes of every part but the last of a multipart upload. */
  readonly minPartBytes: number;
  /** Begins an upload by parts, which keeps each part's sha256; returns its id. */
  createMultipart(key: string, options: { contentType: string }): Promise<string>;
  /** A URL that stores one exact body as a part until it expires or its upload ends, and nothing else. */
  presignPart(key: string, options: PresignPartOptions): Promise<PresignedPut>;
  /** The parts that have arrived, by number; null where the upload has ended or never was. */
  listParts(key: string, uploadId: string): Promise<StoredPart[] | null>;
  /**
   * Joins parts, as `listParts` gave them, to the object and ends the upload: its URLs take nothing any more.
   * Again it changes nothing, and may be no error.
   * @throws ArmatureError `not_found` where the upload was aborted or never was, `invalid_request` for parts
   * that are not in order, not there, or no longer what was listed.
   */
  completeMultipart(key: string, uploadId: string, parts: readonly StoredPart[]): Promise<void>;
  /** Ends an upload and drops its parts; one that has ended is no error. */
  abortMultipart(key: string, uploadId: string): Promise<void>;
  /** Multipart uploads that have not ended, of keys that start with `prefix`, in no order. */
  listMultiparts(prefix: string): AsyncIterable<OpenMultipart>;
  /** Path of a file with the object's bytes, for readers that need one; only where it costs nothing. */
  localPath?(key: string): Promise<string>;
}
