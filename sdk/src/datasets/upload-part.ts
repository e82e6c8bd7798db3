import { createReadStream } from 'node:fs';
import { ArmatureError, type UploadPart } from '../../contract/index.ts';
import { errorFromAnswer } from '../answers.ts';
import { backoffMs, cancelled, sleep, throwIfCancelled } from '../backoff.ts';
import { systemCode } from '../http.ts';
import type { LocalFile } from './local-files.ts';

const ATTEMPTS = 5;
const BACKOFF = { baseMs: 300, maxMs: 10_000 };
/** A transfer that moves no byte for this long is given up, ms. */
const STALL_MS = 60_000;

export interface PartUpload {
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal | undefined;
  /** Bytes sent since the last call; negative when an attempt that failed is taken back. */
  readonly onBytes: (bytes: number) => void;
}

/** How a part ended: there, or its URL is no longer good and a new plan is needed. */
export type PartOutcome = 'uploaded' | 'expired';

/**
 * Sends one file, or a part of it, to its presigned URL as a stream, with exactly the size and headers of the plan;
 * repeated on a broken connection, on 408, 429 and 5xx.
 * @throws ArmatureError `checksum_mismatch`, `unavailable` after five attempts, or as the store
 *   answered.
 */
export async function uploadPart(
  part: UploadPart,
  file: LocalFile,
  upload: PartUpload,
): Promise<PartOutcome> {
  for (let attempt = 0; ; attempt++) {
    throwIfCancelled(upload.signal);
    const result = await putOnce(part, file, upload);
    if (!(result instanceof ArmatureError)) return result;
    if (!result.retryable || result.code === 'checksum_mismatch' || attempt + 1 >= ATTEMPTS) {
      throw result;
    }
    await sleep(backoffMs(attempt, BACKOFF, Math.random()), upload.signal);
  }
}

async function putOnce(
  part: UploadPart,
  file: LocalFile,
  upload: PartUpload,
): Promise<PartOutcome | ArmatureError> {
  const stall = new AbortController();
  const abort = (): void => stall.abort();
  let timer = setTimeout(abort, STALL_MS);
  let sent = 0;
  const progress = (bytes: number): void => {
    clearTimeout(timer);
    timer = setTimeout(abort, STALL_MS);
    sent += bytes;
    upload.onBytes(bytes);
  };
  const signal =
    upload.signal === undefined ? stall.signal : AbortSignal.any([stall.signal, upload.signal]);
  try {
    const response = await upload.fetch(part.url, {
      method: part.method,
      headers: { ...part.headers, 'content-length': String(part.size) },
      body: bodyOf(part, file, progress),
      duplex: 'half',
      redirect: 'error',
      signal,
    });
    const body = await response.text();
    if (response.ok) return 'uploaded';
    upload.onBytes(-sent);
    return refusal(response.status, body, part);
  } catch (cause) {
    upload.onBytes(-sent);
    if (upload.signal?.aborted === true) throw cancelled(upload.signal);
    const stalled = stall.signal.aborted;
    const code = systemCode(cause);
    return new ArmatureError(
      stalled ? 'timeout' : 'unavailable',
      stalled
        ? `the transfer of ${file.path} stood still for ${STALL_MS / 1000} s`
        : `the transfer of ${file.path} broke${code === undefined ? '' : ` (${code})`}`,
      { field: file.path, fix: 'Push again: what is there already is not sent twice.', cause },
    );
  } finally {
    clearTimeout(timer);
  }
}

async function* bodyOf(
  { part, size }: UploadPart,
  file: LocalFile,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  const start = part?.offset ?? 0;
  const stream: AsyncIterable<Buffer> = createReadStream(file.source, {
    highWaterMark: 1 << 16,
    start,
    end: start + size - 1,
  });
  for await (const chunk of stream) {
    yield chunk;
    onBytes(chunk.length);
  }
}

function refusal(
  status: number,
  body: string,
  { path, part }: UploadPart,
): PartOutcome | ArmatureError {
  const error = errorFromAnswer(status, body);
  const about = error.code === 'checksum_mismatch' || /checksum|digest|sha-?256/i.test(body);
  if (about && status < 500) {
    return new ArmatureError('checksum_mismatch', `${path} is not the file that was announced`, {
      field: path,
      fix: 'The file changed since its upload began: push the set anew, without resuming.',
      cause: error,
    });
  }
  // The upload that the part was of has ended: its parts were joined or taken away.
  if (status === 404 && part !== undefined) return 'expired';
  if (error.code === 'expired_token' || (status === 403 && /expired/i.test(body))) return 'expired';
  return error;
}
