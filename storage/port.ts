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
  /** Deletes every object whose key starts with `prefix`; returns how many. */
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
  /** Path of a file with the object's bytes, for readers that need one; only where it costs nothing. */
  localPath?(key: string): Promise<string>;
}
