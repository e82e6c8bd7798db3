import { type ChildProcess, fork } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type BlobSource, failedReport } from '@armature/datasets';
import {
  ArmatureError,
  type DatasetFile,
  type DatasetReport,
  type EmbodimentSpec,
} from '@armature/sdk/contract';
import { reasonOf } from '../jobs/reasons.ts';
import { type FromChecker, type ToChecker, toFault } from './protocol.ts';

const CHECKER = fileURLToPath(new URL('./checker.mjs', import.meta.url));
/** Time between two looks at the memory of the process, ms. */
const WATCH_MS = 50;
/**
 * Bytes from which on glibc gives memory back at once. By itself it raises that with each picture that is let go,
 * and keeps more and more in pieces between others that live longer.
 */
const MAPPED_FROM = String(128 << 10);
/** Characters of its standard error that are kept for the log. */
const SAID = 2_000;
/** How V8 ends a process that asks for more than its heap: abort(), or a trap instruction. */
const HEAP_SIGNALS: ReadonlySet<string | null> = new Set(['SIGABRT', 'SIGTRAP', 'SIGILL']);

export interface SetToCheck {
  /** Has a local file of every file of the set. */
  readonly source: BlobSource & Required<Pick<BlobSource, 'localPath'>>;
  readonly files: readonly DatasetFile[];
  readonly spec: EmbodimentSpec;
  readonly without: readonly number[];
  readonly lanes: number;
  /** Resident memory that the check may take, MiB. */
  readonly memoryMib: number;
  readonly scratch: string;
  readonly signal: AbortSignal;
  /** Entry of the process; the sources' own if absent. */
  readonly checker?: string | undefined;
  onProgress(fraction: number): void;
}

/** The process took more memory than it may; `episodes` were being looked at. */
class TooLarge extends Error {
  readonly episodes: readonly number[];

  constructor(episodes: readonly number[]) {
    super('the check took more memory than it may');
    this.episodes = episodes;
  }
}

/**
 * Checks a set in a process of its own, which has neither the database nor the object store nor anything of
 * this one's environment, and no more memory than `memoryMib`: what a set makes of its readers, it
 * makes of that process alone. A set that takes more is looked at again an episode at a time, so that
 * the report names the one that is to blame.
 * @throws what `source` throws when it is not the set's fault; the reason of `signal`; Error when the
 *   process ends by itself.
 */
export async function checkInProcess(set: SetToCheck): Promise<DatasetReport> {
  try {
    return await checkOnce(set);
  } catch (error) {
    if (!(error instanceof TooLarge)) throw error;
    if (set.lanes > 1 && error.episodes.length > 1)
      return await checkInProcess({ ...set, lanes: 1 });
    return tooLarge(error.episodes, set.memoryMib);
  }
}

function tooLarge(episodes: readonly number[], memoryMib: number): DatasetReport {
  const [episode] = episodes;
  const what = episode === undefined ? 'the description of the set' : `episode ${episode}`;
  const report = failedReport(
    new ArmatureError(
      'payload_too_large',
      `reading ${what} takes more than ${memoryMib} MiB of memory`,
      {
        fix:
          episode === undefined
            ? 'Export the data set again: what its description holds is far larger than a recording needs.'
            : `Export episode ${episode} again or in parts, or accept the set without it.`,
      },
    ),
  );
  return {
    ...report,
    findings: report.findings.map((finding) =>
      episode === undefined ? finding : { ...finding, episode },
    ),
  };
}

async function checkOnce(set: SetToCheck): Promise<DatasetReport> {
  set.signal.throwIfAborted();
  const child = fork(set.checker ?? CHECKER, {
    env: { MALLOC_MMAP_THRESHOLD_: MAPPED_FROM },
    execArgv: [`--max-old-space-size=${set.memoryMib}`],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  try {
    return await reportOf(child, set);
  } finally {
    child.kill('SIGKILL');
  }
}

function reportOf(child: ChildProcess, set: SetToCheck): Promise<DatasetReport> {
  return new Promise((resolve, reject) => {
    const { source, signal } = set;
    let reading: readonly number[] = [];
    /** The last that it has written to standard error. */
    let said = '';
    child.stderr?.on('data', (piece: Buffer) => (said = (said + piece.toString()).slice(-SAID)));
    /** What the source threw; what the process makes of it is but its message. */
    let failure: unknown;
    const tell = (message: ToChecker): void => {
      // A process that is gone shows by its exit.
      if (child.connected) child.send(message, () => undefined);
    };
    const give = async (id: number, path: string): Promise<void> => {
      try {
        tell({ kind: 'file', id, local: await source.localPath(path) });
      } catch (error) {
        failure = error;
        tell({ kind: 'no_file', id, error: toFault(error) });
      }
    };
    const onAbort = (): void => end(() => reject(reasonOf(signal)));
    const watch = setInterval(() => {
      residentMib(child.pid).then(
        (mib) => {
          if (mib !== null && mib > set.memoryMib) end(() => reject(new TooLarge(reading)));
        },
        (error: unknown) =>
          end(() => reject(error instanceof Error ? error : new Error(String(error)))),
      );
    }, WATCH_MS);
    const end = (settle: () => void): void => {
      clearInterval(watch);
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    signal.addEventListener('abort', onAbort);
    child.on('error', (error) => end(() => reject(error)));
    child.on('exit', (code, by) =>
      end(() =>
        reject(
          HEAP_SIGNALS.has(by)
            ? new TooLarge(reading)
            : new Error(
                `the process that checks the set ended with ${by ?? String(code)}: ${said.trim()}`,
              ),
        ),
      ),
    );
    child.on('message', (message: FromChecker) => {
      switch (message.kind) {
        case 'ready':
          tell({
            kind: 'check',
            files: set.files.map(({ path, size }) => ({ path, size })),
            spec: set.spec,
            without: set.without,
            lanes: set.lanes,
            scratch: set.scratch,
          });
          return;
        case 'file':
          void give(message.id, message.path);
          return;
        case 'progress':
          set.onProgress(message.fraction);
          return;
        case 'reading':
          reading = message.episodes;
          return;
        case 'report':
          end(() => resolve(message.report));
          return;
        case 'failed':
          end(() => reject(failure instanceof Error ? failure : new Error(message.error.message)));
      }
    });
  });
}

/** Resident memory of a process in MiB; null where the system does not say, or it has ended. */
async function residentMib(pid: number | undefined): Promise<number | null> {
  if (pid === undefined || process.platform !== 'linux') return null;
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error) return '';
    throw error;
  });
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(status);
  return match === null ? null : Number(match[1]) / 1024;
}
