import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, open, readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ArmatureError } from '@armature/sdk/contract';
import {
  hashFile,
  isAbsent,
  pruneEmpty,
  removeOlder,
  renameInto,
  statFile,
  syncFolder,
  unlinkIfThere,
  type FileIdentity,
} from './disk-files.ts';
import { DiskParts, type PartPlace } from './disk-parts.ts';
import { signDownloadUrl, signUploadUrl } from './disk-signature.ts';
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
import type {
  ByteRange,
  ObjectStore,
  OpenMultipart,
  PresignPartOptions,
  PresignPutOptions,
  PresignedPut,
  StoredObject,
  StoredPart,
} from './port.ts';

export interface DiskStoreConfig {
  kind: 'disk';
  /** Folder of the store; made when absent. */
  root: string;
  /** Base URL under which `diskUploadHandler` is reachable at `/store/`. */
  publicUrl: string;
  /** Key of the upload signatures, 32 characters or more. */
  secret: string;
}

/** A temporary file that nothing was written to for so long is of a process that was killed. */
const ABANDONED_MS = 86_400_000;
/** Time between two looks for such files. */
const LOOK_MS = 3_600_000;

/** A hash with the identity of the file that was hashed: a sum of other bytes is never believed. */
interface Sum extends FileIdentity {
  sha256: string;
}

/** A write in pieces: nothing is visible before `commit`, nothing is left after `abort`. */
export interface DiskWriter {
  write(bytes: Uint8Array): Promise<void>;
  size(): number;
  digest(): string;
  /** To the key, or as a part of the key's open multipart upload. */
  commit(key: string, part?: PartPlace): Promise<{ sha256: string; size: number }>;
  abort(): Promise<void>;
}

/**
 * Objects as files below `root/objects`, their sha256 below `root/sums`, unfinished writes in
 * `root/tmp`, multipart uploads below `root/parts`. A write is a temporary file, fsync and rename, so that a key holds whole objects only.
 */
export class DiskStore implements ObjectStore {
  readonly config: DiskStoreConfig;
  /** Any: nothing is gained from large parts here. */
  readonly minPartBytes = 1;
  private readonly now: () => number;
  private readonly parts: DiskParts;
  /** When temporary files were last looked through. */
  private lookedAt = -Infinity;

  constructor(config: DiskStoreConfig, now: () => number = Date.now) {
    if (config.secret.length < 32) {
      throw new ArmatureError('invalid_request', 'the store secret needs 32 characters or more', {
        field: 'secret',
        fix: 'Give the store a longer random secret.',
      });
    }
    this.config = config;
    this.now = now;
    this.parts = new DiskParts(join(config.root, 'parts'));
  }

  async put(key: string, bytes: Uint8Array): Promise<{ sha256: string; size: number }> {
    checkKey(key);
    const writer = await this.beginWrite();
    try {
      await writer.write(bytes);
      return await writer.commit(key);
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    checkKey(key);
    if (range !== undefined) checkRange(range);
    const file = await open(this.objectPath(key)).catch((error: unknown) => {
      throw isAbsent(error) ? notFound(key) : error;
    });
    try {
      const { size } = await file.stat();
      const start = range?.start ?? 0;
      const end = Math.min(range?.end ?? size, size);
      if (range !== undefined && start >= size) {
        throw new ArmatureError('invalid_request', `range starts at ${start} of ${size} bytes`, {
          field: 'range',
          fix: 'Read within the object.',
        });
      }
      const bytes = new Uint8Array(end - start);
      let filled = 0;
      while (filled < bytes.length) {
        const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled);
        if (bytesRead === 0) throw new Error(`object ${key} ended at ${start + filled}`);
        filled += bytesRead;
      }
      return bytes;
    } finally {
      await file.close();
    }
  }

  async head(key: string): Promise<{ size: number; sha256: string } | null> {
    checkKey(key);
    const info = await statFile(this.objectPath(key));
    if (info === null) return null;
    const sum = await this.readSum(key);
    const known =
      sum !== null &&
      sum.size === info.size &&
      sum.ino === info.ino &&
      sum.mtimeNs === info.mtimeNs;
    if (known) return { size: info.size, sha256: sum.sha256 };
    const sha256 = await hashFile(this.objectPath(key));
    await this.writeSum(key, { ...info, sha256 });
    return { size: info.size, sha256 };
  }

  async *list(prefix: string): AsyncIterable<StoredObject> {
    checkPrefix(prefix);
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    yield* this.walk(folder, prefix);
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    await unlinkIfThere(this.objectPath(key));
    await unlinkIfThere(this.sumPath(key));
    await pruneEmpty(dirname(this.objectPath(key)), join(this.config.root, 'objects'));
    await pruneEmpty(dirname(this.sumPath(key)), join(this.config.root, 'sums'));
  }

  async deletePrefix(prefix: string): Promise<number> {
    const keys: string[] = [];
    for await (const { key } of this.list(prefix)) keys.push(key);
    for (const key of keys) await this.delete(key);
    for await (const { key, uploadId } of this.listMultiparts(prefix)) {
      await this.abortMultipart(key, uploadId);
    }
    return keys.length;
  }

  async copy(from: string, to: string): Promise<void> {
    checkKey(from);
    checkKey(to);
    const temporary = await this.temporaryPath();
    try {
      await copyFile(this.objectPath(from), temporary).catch((error: unknown) => {
        throw isAbsent(error) ? notFound(from) : error;
      });
      await this.publish(temporary, to, await hashFile(temporary));
    } catch (error) {
      await unlinkIfThere(temporary);
      throw error;
    }
  }

  presignPut(key: string, options: PresignPutOptions): Promise<PresignedPut> {
    checkKey(key);
    checkSha256(options.sha256);
    const { size, sha256, contentType } = options;
    const expires = Math.floor(this.now() / 1000) + options.expiresInS;
    const grant = { key, size, sha256, contentType, expires };
    return Promise.resolve({
      url: signUploadUrl(this.config.publicUrl, this.config.secret, grant),
      method: 'PUT',
      headers: { 'content-type': contentType },
    });
  }

  presignGet(key: string, expiresInS: number): Promise<string> {
    checkKey(key);
    const expires = Math.floor(this.now() / 1000) + expiresInS;
    const { publicUrl, secret } = this.config;
    return Promise.resolve(signDownloadUrl(publicUrl, secret, { key, expires }));
  }

  async createMultipart(key: string): Promise<string> {
    checkKey(key);
    return this.parts.create(key, new Date(this.now()));
  }

  presignPart(key: string, options: PresignPartOptions): Promise<PresignedPut> {
    checkKey(key);
    checkPartNumber(options.number);
    checkSha256(options.sha256);
    const { uploadId, number, size, sha256 } = options;
    const contentType = 'application/octet-stream';
    const expires = Math.floor(this.now() / 1000) + options.expiresInS;
    const grant = { key, size, sha256, contentType, expires, part: { uploadId, number } };
    return Promise.resolve({
      url: signUploadUrl(this.config.publicUrl, this.config.secret, grant),
      method: 'PUT',
      headers: { 'content-type': contentType },
    });
  }

  async listParts(key: string, uploadId: string): Promise<StoredPart[] | null> {
    checkKey(key);
    return this.parts.list(key, uploadId);
  }

  /** @throws ArmatureError `not_found` unless the upload is open and of this key. */
  async needMultipart(key: string, uploadId: string): Promise<void> {
    await this.parts.needOpen(key, uploadId);
  }

  async completeMultipart(
    key: string,
    uploadId: string,
    parts: readonly StoredPart[],
  ): Promise<void> {
    checkKey(key);
    checkPartOrder(parts);
    await this.parts.needOpen(key, uploadId);
    const writer = await this.beginWrite();
    try {
      for (const part of parts) await this.append(writer, key, uploadId, part);
      await this.parts.needOpen(key, uploadId);
      await writer.commit(key);
    } catch (error) {
      await writer.abort();
      throw error;
    }
    await this.parts.end(key, uploadId);
  }

  async abortMultipart(key: string, uploadId: string): Promise<void> {
    checkKey(key);
    await this.parts.end(key, uploadId);
  }

  async *listMultiparts(prefix: string): AsyncIterable<OpenMultipart> {
    checkPrefix(prefix);
    yield* this.parts.open(prefix);
  }

  async localPath(key: string): Promise<string> {
    checkKey(key);
    const path = this.objectPath(key);
    if ((await statFile(path)) === null) throw notFound(key);
    return path;
  }

  async beginWrite(): Promise<DiskWriter> {
    const path = await this.temporaryPath();
    const file = await open(path, 'wx', 0o600);
    const hash = createHash('sha256');
    let size = 0;
    let isOpen = true;
    const close = async () => {
      if (!isOpen) return;
      isOpen = false;
      await file.close();
    };
    return {
      write: async (bytes) => {
        hash.update(bytes);
        size += bytes.length;
        await file.writeFile(bytes);
      },
      size: () => size,
      digest: () => hash.copy().digest('hex'),
      commit: async (key, part) => {
        const sha256 = hash.copy().digest('hex');
        await file.sync();
        await close();
        if (part === undefined) await this.publish(path, key, sha256);
        else await this.parts.take(path, key, part, sha256);
        return { sha256, size };
      },
      abort: async () => {
        await close();
        await unlinkIfThere(path);
      },
    };
  }

  /** @throws ArmatureError `invalid_request` where the part is not what was listed. */
  private async append(
    writer: DiskWriter,
    key: string,
    uploadId: string,
    part: StoredPart,
  ): Promise<void> {
    const hash = createHash('sha256');
    const before = writer.size();
    try {
      for await (const piece of createReadStream(this.parts.pathOf(uploadId, part))) {
        hash.update(piece as Uint8Array);
        await writer.write(piece as Uint8Array);
      }
    } catch (error) {
      if (!isAbsent(error)) throw error;
      const isOpen = (await this.parts.list(key, uploadId)) !== null;
      throw isOpen ? otherParts(key, error) : noMultipart(key, uploadId);
    }
    const same = writer.size() - before === part.size && hash.digest('hex') === part.sha256;
    if (!same) throw otherParts(key);
  }

  /** Moves a finished temporary file to its key and remembers its sum. */
  private async publish(temporary: string, key: string, sha256: string): Promise<void> {
    const target = this.objectPath(key);
    const info = await statFile(temporary);
    if (info === null) throw new Error(`temporary file of ${key} is gone`);
    await this.writeSum(key, { ...info, sha256 });
    await renameInto(temporary, target, key);
    await syncFolder(dirname(target));
  }

  private async *walk(folder: string, prefix: string): AsyncIterable<StoredObject> {
    const entries = await readdir(join(this.config.root, 'objects', folder), {
      withFileTypes: true,
    }).catch((error: unknown) => {
      if (isAbsent(error)) return [];
      throw error;
    });
    const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
    names.sort((a, b) => (a < b ? -1 : 1));
    for (const name of names) {
      const key = folder + name;
      if (!key.startsWith(prefix) && !prefix.startsWith(key)) continue;
      if (name.endsWith('/')) {
        yield* this.walk(key, prefix);
      } else if (key.startsWith(prefix)) {
        const info = await statFile(this.objectPath(key));
        if (info === null) continue;
        const modifiedAt = new Date(Number(BigInt(info.mtimeNs) / 1_000_000n));
        yield { key, size: info.size, modifiedAt };
      }
    }
  }

  private async readSum(key: string): Promise<Sum | null> {
    try {
      return JSON.parse(await readFile(this.sumPath(key), 'utf8')) as Sum;
    } catch (error) {
      if (isAbsent(error) || error instanceof SyntaxError) return null;
      throw error;
    }
  }

  private async writeSum(key: string, sum: Sum): Promise<void> {
    const temporary = await this.temporaryPath();
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(JSON.stringify(sum));
    } finally {
      await file.close();
    }
    await renameInto(temporary, this.sumPath(key), key).catch(async (error: unknown) => {
      await unlinkIfThere(temporary);
      throw error;
    });
  }

  private async temporaryPath(): Promise<string> {
    const folder = join(this.config.root, 'tmp');
    await mkdir(folder, { recursive: true });
    if (this.now() - this.lookedAt >= LOOK_MS) {
      this.lookedAt = this.now();
      await removeOlder(folder, this.now() - ABANDONED_MS);
    }
    return join(folder, randomUUID());
  }

  private objectPath(key: string): string {
    return join(this.config.root, 'objects', key);
  }

  private sumPath(key: string): string {
    return join(this.config.root, 'sums', key);
  }
}
