import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent, statFile, syncFolder, unlinkIfThere } from './disk-files.ts';
import { noMultipart } from './key.ts';
import type { OpenMultipart, StoredPart } from './port.ts';

/** Which part of which upload a body is. */
export interface PartPlace {
  uploadId: string;
  number: number;
}

/** The file that says which key an upload is of; an upload without it is none. */
const ABOUT = 'upload.json';
const UPLOAD_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const PART = /^(?<number>\d{5})\.(?<sha256>[0-9a-f]{64})$/;

interface About {
  key: string;
  startedAt: string;
}

/**
 * Multipart uploads as folders below `root`: `upload.json`, and a file a part that is named by its number
 * and sha256. A part is moved in whole; the folder goes when the upload ends, and nothing gets in then.
 */
export class DiskParts {
  private readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  async create(key: string, startedAt: Date): Promise<string> {
    const uploadId = randomUUID();
    const folder = join(this.root, uploadId);
    await mkdir(folder, { recursive: true });
    const about: About = { key, startedAt: startedAt.toISOString() };
    const file = await open(join(folder, `${ABOUT}.new`), 'wx', 0o600);
    try {
      await file.writeFile(JSON.stringify(about));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(join(folder, `${ABOUT}.new`), join(folder, ABOUT));
    await syncFolder(folder);
    await syncFolder(this.root);
    return uploadId;
  }

  /** @throws ArmatureError `not_found` unless the upload is open and of this key. */
  async needOpen(key: string, uploadId: string): Promise<void> {
    if ((await this.about(uploadId))?.key !== key) throw noMultipart(key, uploadId);
  }

  /** Moves a finished file in as a part, in place of one of that number. @throws as `needOpen`. */
  async take(temporary: string, key: string, place: PartPlace, sha256: string): Promise<void> {
    const { uploadId, number } = place;
    await this.needOpen(key, uploadId);
    const folder = join(this.root, uploadId);
    const name = `${String(number).padStart(5, '0')}.${sha256}`;
    await rename(temporary, join(folder, name)).catch((error: unknown) => {
      throw isAbsent(error) ? noMultipart(key, uploadId) : error;
    });
    for (const other of await names(folder)) {
      if (other !== name && Number(PART.exec(other)?.groups?.['number']) === number) {
        await unlinkIfThere(join(folder, other));
      }
    }
    await syncFolder(folder);
  }

  /** By number; null unless the upload is open and of this key. */
  async list(key: string, uploadId: string): Promise<StoredPart[] | null> {
    if ((await this.about(uploadId))?.key !== key) return null;
    const parts = new Map<number, StoredPart>();
    for (const name of await names(join(this.root, uploadId))) {
      const { number, sha256 } = PART.exec(name)?.groups ?? {};
      if (number === undefined || sha256 === undefined) continue;
      const info = await statFile(join(this.root, uploadId, name));
      if (info === null) continue;
      const part = { number: Number(number), size: info.size, sha256, etag: sha256 };
      parts.set(part.number, part);
    }
    return [...parts.values()].sort((a, b) => a.number - b.number);
  }

  pathOf(uploadId: string, { number, etag }: StoredPart): string {
    return join(this.root, uploadId, `${String(number).padStart(5, '0')}.${etag}`);
  }

  /** What says that the upload is open goes first. */
  async end(key: string, uploadId: string): Promise<void> {
    if ((await this.about(uploadId))?.key !== key) return;
    await unlinkIfThere(join(this.root, uploadId, ABOUT));
    await rm(join(this.root, uploadId), { recursive: true, force: true });
  }

  async *open(prefix: string): AsyncIterable<OpenMultipart> {
    for (const uploadId of await names(this.root)) {
      const about = await this.about(uploadId);
      if (about?.key.startsWith(prefix) !== true) continue;
      yield { key: about.key, uploadId, startedAt: new Date(about.startedAt) };
    }
  }

  private async about(uploadId: string): Promise<About | null> {
    if (!UPLOAD_ID.test(uploadId)) return null;
    try {
      return JSON.parse(await readFile(join(this.root, uploadId, ABOUT), 'utf8')) as About;
    } catch (error) {
      if (isAbsent(error)) return null;
      throw error;
    }
  }
}

async function names(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
}
