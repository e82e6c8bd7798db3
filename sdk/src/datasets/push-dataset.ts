import {
  ArmatureError,
  type Dataset,
  type DatasetReport,
  type UploadPart,
} from '../../contract/index.ts';
import { sleep } from '../backoff.ts';
import type { Armature } from '../client.ts';
import {
  checked,
  hashFiles,
  listFiles,
  partBytesFor,
  toDatasetFile,
  type HashedFile,
  type LocalFile,
} from './local-files.ts';
import { uploadPart } from './upload-part.ts';

/** Where a push stands. `done` and `total` are bytes, while validating shares of 1. */
export interface PushProgress {
  readonly phase: 'hash' | 'upload' | 'validate';
  readonly done: number;
  readonly total: number;
  /** Known from the upload on. */
  readonly datasetId?: string;
  /** Files that lay there already when the upload was resumed. */
  readonly resumedFiles?: number;
}

export interface PushOptions {
  readonly client: Armature;
  /** A folder, pushed whole; or `files`. */
  readonly dir?: string;
  readonly files?: readonly LocalFile[];
  readonly embodimentId: string;
  readonly name: string;
  /**
   * `auto` (unless told) goes on with an unfinished upload of the same name, embodiment, number of
   * files and bytes; `never` starts anew; an id goes on with that data set.
   */
  readonly resume?: 'auto' | 'never' | { readonly datasetId: string };
  /** Files and parts of files in transfer at once; 4 unless told. */
  readonly concurrency?: number;
  /**
   * A file of more bytes is sent in parts of so many, or of more where it would have too many parts; 64 MiB
   * unless told. S3 takes 5 MiB and more.
   */
  readonly partBytes?: number;
  /** Wait for the validation; true unless told. */
  readonly validate?: boolean;
  readonly onProgress?: (progress: PushProgress) => void;
  /** ms between looks at the validation; 1,000 unless told. */
  readonly pollMs?: number;
  readonly signal?: AbortSignal;
}

const PART_BYTES = 64 * 2 ** 20;
/** What reads a large file at the least to verify it, bytes/s: how long its completion may take. */
const VERIFIED_BYTES_PER_S = 10e6;
/** New plans that one push may ask for, because URLs ran out or files were missed. */
const MAX_PLANS = 6;

/**
 * Pushes a data set: hashes its files, announces them, sends what is not there yet, completes the
 * set and waits until it is validated. A push that was cut off goes on where it was, inside a large file
 * with the parts that are missing.
 * @returns the data set, `ready` (or `validating` with `validate: false`).
 * @throws ArmatureError `invalid_dataset` when the validation refuses the set (its report has all
 *   findings: `datasets.get`), `empty_dataset`, `checksum_mismatch`, `unavailable`, `cancelled`, or
 *   as the control plane answered.
 */
export async function pushDataset(options: PushOptions): Promise<Dataset> {
  const { client, signal } = options;
  const files = await gather(options);
  const total = files.reduce((sum, file) => sum + file.size, 0);
  let hashedBytes = 0;
  const hashed = await hashFiles(
    files,
    partBytesFor(files, options.partBytes ?? PART_BYTES),
    (bytes) => {
      hashedBytes += bytes;
      options.onProgress?.({ phase: 'hash', done: hashedBytes, total });
    },
    signal,
  );
  const dataset = await send(options, hashed, total);
  if (options.validate === false) return dataset;
  return waitForDataset({
    client,
    id: dataset.id,
    ...(options.pollMs === undefined ? {} : { pollMs: options.pollMs }),
    ...(signal === undefined ? {} : { signal }),
    onUpdate: (update) =>
      options.onProgress?.({
        phase: 'validate',
        done: update.progress,
        total: 1,
        datasetId: update.id,
      }),
  });
}

async function gather(options: PushOptions): Promise<LocalFile[]> {
  if (options.files !== undefined && options.files.length > 0) return options.files.map(checked);
  if (options.dir !== undefined) return listFiles(options.dir);
  throw new ArmatureError('empty_dataset', 'there is nothing to push', {
    field: 'dir',
    fix: 'Give the folder of a data set, or its files.',
  });
}

async function send(
  options: PushOptions,
  files: readonly HashedFile[],
  total: number,
): Promise<Dataset> {
  const { client, signal } = options;
  const call = signal === undefined ? {} : { signal };
  let plan = await openPlan(options, files, total);
  for (let plans = 1; ; plans++) {
    const { id } = plan.dataset;
    const there = total - plan.parts.reduce((sum, part) => sum + part.size, 0);
    let sent = there;
    const report = (): void =>
      options.onProgress?.({
        phase: 'upload',
        done: sent,
        total,
        datasetId: id,
        resumedFiles: files.length - new Set(plan.parts.map(({ path }) => path)).size,
      });
    report();
    const whole = await sendParts(options, plan.parts, files, (bytes) => {
      sent += bytes;
      report();
    });
    if (whole) {
      const result = await completed(client, id, { ...call, timeoutMs: completionMs(files) });
      if (!(result instanceof ArmatureError)) return result;
      if (plans >= MAX_PLANS) throw result;
    } else if (plans >= MAX_PLANS) {
      throw new ArmatureError(
        'incomplete_upload',
        `${plan.parts.length} files or parts could not be sent`,
        {
          field: 'files',
          fix: 'Push again: what is there already is not sent twice.',
        },
      );
    }
    plan = await client.datasets.plan({ id }, call);
  }
}

/** Files that came by parts are read whole before the answer. */
function completionMs(files: readonly HashedFile[]): number {
  const large = files.reduce((sum, { size, parts }) => (parts === undefined ? sum : sum + size), 0);
  return 30_000 + Math.ceil((large / VERIFIED_BYTES_PER_S) * 1000);
}

async function completed(
  client: Armature,
  id: string,
  call: { signal?: AbortSignal; timeoutMs: number },
): Promise<Dataset | ArmatureError> {
  try {
    return await client.datasets.complete({ id }, call);
  } catch (error) {
    const missing = ['incomplete_upload', 'checksum_mismatch'];
    if (error instanceof ArmatureError && missing.includes(error.code)) return error;
    throw error;
  }
}

async function openPlan(options: PushOptions, files: readonly HashedFile[], total: number) {
  const { client, resume = 'auto', signal } = options;
  const call = signal === undefined ? {} : { signal };
  if (typeof resume === 'object') return client.datasets.plan({ id: resume.datasetId }, call);
  if (resume === 'auto') {
    for await (const dataset of client.datasets.listAll({}, call)) {
      const same =
        dataset.status === 'uploading' &&
        dataset.name === options.name &&
        dataset.embodiment_id === options.embodimentId &&
        dataset.files === files.length &&
        dataset.bytes === total;
      if (same) return client.datasets.plan({ id: dataset.id }, call);
    }
  }
  return client.datasets.create(
    {
      name: options.name,
      embodiment_id: options.embodimentId,
      files: files.map(toDatasetFile),
    },
    call,
  );
}

/** Sends the parts of a plan; false when some of its URLs had run out. */
async function sendParts(
  options: PushOptions,
  parts: readonly UploadPart[],
  files: readonly LocalFile[],
  onBytes: (bytes: number) => void,
): Promise<boolean> {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const queue = parts.values();
  const stop = new AbortController();
  const signal =
    options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
  let whole = true;
  const worker = async (): Promise<void> => {
    for (const part of queue) {
      const file = byPath.get(part.path);
      if (file === undefined || !isOf(part, file)) throw differs(part.path);
      const outcome = await uploadPart(part, file, {
        fetch: options.client.fetch,
        signal,
        onBytes,
      });
      if (outcome === 'expired') whole = false;
    }
  };
  const workers = Array.from({ length: Math.max(1, options.concurrency ?? 4) }, () =>
    worker().catch((error: unknown) => {
      stop.abort(error);
      throw error;
    }),
  );
  const failed = (await Promise.allSettled(workers)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return whole;
}

function isOf({ size, part }: UploadPart, file: LocalFile): boolean {
  return part === undefined ? size === file.size : part.offset + size <= file.size;
}

function differs(path: string): ArmatureError {
  return new ArmatureError('conflict', `the unfinished upload has another ${path}`, {
    field: path,
    fix: 'Push the set anew, without resuming.',
  });
}

export interface WaitForDatasetOptions {
  readonly client: Armature;
  readonly id: string;
  readonly onUpdate?: (dataset: Dataset) => void;
  /** ms between looks; 1,000 unless told. */
  readonly pollMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Waits until a data set is validated.
 * @throws ArmatureError `invalid_dataset` or `empty_dataset` with the first finding when it is
 *   refused; `cancelled`.
 */
export async function waitForDataset(options: WaitForDatasetOptions): Promise<Dataset> {
  const { client, id, signal } = options;
  for (;;) {
    const dataset = await client.datasets.get({ id }, signal === undefined ? {} : { signal });
    options.onUpdate?.(dataset);
    if (dataset.status === 'ready') return dataset;
    if (dataset.status === 'rejected') throw rejected(dataset, dataset.report);
    if (dataset.status === 'deleted') {
      throw new ArmatureError('conflict', `${dataset.name} (${dataset.id}) was deleted`, {
        field: 'id',
        fix: 'Push the set again.',
      });
    }
    await sleep(options.pollMs ?? 1000, signal);
  }
}

function rejected(dataset: Dataset, report: DatasetReport | null): ArmatureError {
  const errors = report?.findings.filter((finding) => finding.severity === 'error') ?? [];
  const first = errors[0];
  if (first === undefined) {
    return new ArmatureError('invalid_dataset', `${dataset.name} (${dataset.id}) was refused`, {
      fix: 'Read its report and push the set again.',
    });
  }
  const field = [
    ...(first.episode === undefined ? [] : [`episodes[${first.episode}]`]),
    ...(first.feature === undefined ? [] : [first.feature]),
  ].join('.');
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  return new ArmatureError(
    first.code === 'empty_dataset' ? 'empty_dataset' : 'invalid_dataset',
    `${dataset.name} (${dataset.id}) was refused: ${first.message}${more}`,
    { ...(field === '' ? {} : { field }), fix: first.fix },
  );
}
