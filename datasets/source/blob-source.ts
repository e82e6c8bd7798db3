/** A half-open byte range `[start, end)`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The files of one data set, wherever they lie. Paths are relative, with `/`, never starting with
 * one. Readers ask for sizes and byte ranges, so that a large file is never held whole.
 */
export interface BlobSource {
  /** Size in bytes, or `null` when there is no such file. */
  size(path: string): Promise<number | null>;
  /** @throws ArmatureError `not_found` when there is no such file. */
  read(path: string, range?: ByteRange): Promise<Uint8Array>;
  /** Every path of the set, sorted. */
  list(): Promise<string[]>;
  /** A path of the local file system that holds exactly these bytes, where the source has one. */
  localPath?(path: string): Promise<string>;
}
