import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ArmatureError, datasetFileSchema, type PolicyFile } from '../../contract/index.ts';
import { errorFromAnswer } from '../answers.ts';
import { backoffMs, cancelled, sleep, throwIfCancelled } from '../backoff.ts';
import type { Armature } from '../client.ts';
import { systemCode } from '../http.ts';

const ATTEMPTS = 5;
const BACKOFF = { baseMs: 300, maxMs: 10_000 };
/** A transfer that moves no byte for this long is given up, ms. */
const STALL_MS = 60_000;

export interface DownloadOptions {
  readonly client: Armature;
  /** Id of the policy version. */
  readonly id: string;
  /** Folder for the files; made when absent. */
  readonly dir: string;
  /** Bytes that are there, of all; those of an earlier download that was cut off count. */
  readonly onProgress?: (at: { readonly done: number; readonly total: number }) => void;
  readonly signal?: AbortSignal;
}

export interface DownloadedPolicy {
  readonly id: string;
  readonly digest: string;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

/**
 * Fetches a policy version's manifest and weights. A file gets its name only when its sha256 is the
 * manifest's; until then it lies beside it as `NAME.part`, from which a later call goes on. A file that
 * is there already is not fetched again. The manifest comes last: where it is, all is.
 * @throws ArmatureError `checksum_mismatch`, `unavailable` after five attempts, `cancelled`, or as the
 *   control plane and the store answer.
 */
export async function downloadPolicy(o: DownloadOptions): Promise<DownloadedPolicy> {
  const plan = await o.client.policies.files({ id: o.id }, callOptions(o.signal));
  const files = [...plan.files].sort((a, b) => rank(a) - rank(b));
  const total = files.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  const onBytes = (bytes: number): void => {
    done += bytes;
    o.onProgress?.({ done, total });
  };
  for (const file of files) {
    // The folder is the caller's: a path that leaves it is not believed, whoever answered it.
    const path = join(o.dir, datasetFileSchema.shape.path.parse(file.path));
    await mkdir(dirname(path), { recursive: true });
    await fetchFile(o, file, path, onBytes);
  }
  return {
    id: plan.id,
    digest: plan.digest,
    files: files.map(({ path, size }) => ({ path, size })),
  };
}

const rank = ({ path }: PolicyFile): number => (path === 'manifest.json' ? 1 : 0);

function callOptions(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

async function fetchFile(
  o: DownloadOptions,
  file: PolicyFile,
  path: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  if ((await sizeOf(path)) === file.size && (await hashOf(path)) === file.sha256) {
    onBytes(file.size);
    return;
  }
  const part = `${path}.part`;
  for (let attempt = 0; ; attempt++) {
    throwIfCancelled(o.signal);
    const problem = await fetchOnce(o, file, part, onBytes);
    if (problem === null) {
      await rename(part, path);
      return;
    }
    if (!problem.retryable || attempt + 1 >= ATTEMPTS) throw problem;
    await sleep(backoffMs(attempt, BACKOFF, Math.random()), o.signal);
  }
}

/** Goes on with the part that is there; null once the whole file is, as its digest says. */
async function fetchOnce(
  o: DownloadOptions,
  file: PolicyFile,
  part: string,
  onBytes: (bytes: number) => void,
): Promise<ArmatureError | null> {
  let had = Math.min((await sizeOf(part)) ?? 0, file.size);
  let counted = 0;
  const count = (bytes: number): void => {
    counted += bytes;
    onBytes(bytes);
  };
  const stall = new AbortController();
  let timer = setTimeout(() => stall.abort(), STALL_MS);
  const signal = o.signal === undefined ? stall.signal : AbortSignal.any([stall.signal, o.signal]);
  try {
    if (had < file.size || file.size === 0) {
      const answer = await o.client.fetch(file.url, {
        headers: had === 0 ? {} : { range: `bytes=${had}-` },
        redirect: 'error',
        signal,
      });
      if (!answer.ok) return errorFromAnswer(answer.status, await answer.text());
      // A server that reads no ranges sends the whole.
      if (answer.status !== 206) had = 0;
      count(had);
      const target = await open(part, had === 0 ? 'w' : 'a');
      try {
        let size = had;
        for await (const piece of (answer.body ?? []) as AsyncIterable<Uint8Array>) {
          clearTimeout(timer);
          timer = setTimeout(() => stall.abort(), STALL_MS);
          size += piece.length;
          if (size > file.size) break;
          await target.writeFile(piece);
          count(piece.length);
        }
        await target.sync();
        if (size < file.size) return broke(file, undefined);
      } finally {
        await target.close();
      }
    } else count(had);
    if ((await hashOf(part)) === file.sha256) return null;
    await rm(part, { force: true });
    onBytes(-counted);
    counted = 0;
    // Of a part from before, what was there may be to blame: the next attempt begins anew.
    return had > 0 ? broke(file, undefined) : mismatch(file);
  } catch (cause) {
    onBytes(-counted);
    if (o.signal?.aborted === true) throw cancelled(o.signal);
    if (isFileSystem(cause)) throw cause;
    return broke(file, cause);
  } finally {
    clearTimeout(timer);
  }
}

function mismatch({ path }: PolicyFile): ArmatureError {
  return new ArmatureError('checksum_mismatch', `${path} is not what the manifest says`, {
    field: path,
    fix: 'Download again; if it stays so, report the id of the version.',
  });
}

function broke({ path }: PolicyFile, cause: unknown): ArmatureError {
  const code = systemCode(cause);
  return new ArmatureError(
    'unavailable',
    `the transfer of ${path} broke${code === undefined ? '' : ` (${code})`}`,
    { field: path, fix: 'Download again: it goes on where it stopped.', cause },
  );
}

/** A full disk or a folder that may not be written is not mended by another attempt. */
function isFileSystem(error: unknown): boolean {
  return (
    error instanceof Error &&
    'syscall' in error &&
    /^E(NOSPC|ACCES|ROFS|PERM|ISDIR|DQUOT)$/.test(String((error as NodeJS.ErrnoException).code))
  );
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) hash.update(piece);
  return hash.digest('hex');
}
