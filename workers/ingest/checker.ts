import { basename, dirname, join } from 'node:path';
import { type BlobSource, fromDirectory, validateSource } from '@armature/datasets';
import { DerivedWriter } from './derived.ts';
import {
  DERIVED,
  type FromChecker,
  type Fault,
  fromFault,
  type ToChecker,
  toFault,
} from './protocol.ts';

/** Least time between two messages about progress, ms. */
const PROGRESS_MS = 250;

const tell = (message: FromChecker): void => {
  process.send?.(message);
};

/** Files that were asked for and have not come. */
const asked = new Map<number, { resolve(local: string): void; reject(error: unknown): void }>();
let last = 0;

const localPath = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    last += 1;
    asked.set(last, { resolve, reject });
    tell({ kind: 'file', id: last, path });
  });

function sourceOf(files: readonly { readonly path: string; readonly size: number }[]): BlobSource {
  const sizes = new Map(files.map(({ path, size }) => [path, size]));
  return {
    size: async (path) => sizes.get(path) ?? null,
    list: async () => [...sizes.keys()].sort(),
    localPath,
    async read(path, range) {
      const local = await localPath(path);
      return await fromDirectory(dirname(local)).read(basename(local), range);
    },
  };
}

async function check(request: Extract<ToChecker, { kind: 'check' }>): Promise<void> {
  let toldAt = 0;
  const derived = new DerivedWriter(join(request.scratch, DERIVED));
  const report = await validateSource(sourceOf(request.files), request.spec, {
    lanes: request.lanes,
    without: request.without,
    scratch: request.scratch,
    onEpisode: (summary) => derived.episode(summary),
    onPicture: (picture) => derived.picture(picture),
    onReading: (episodes) => tell({ kind: 'reading', episodes }),
    onProgress: (fraction) => {
      const now = performance.now();
      if (now - toldAt < PROGRESS_MS) return;
      toldAt = now;
      tell({ kind: 'progress', fraction });
    },
  });
  await derived.finish();
  tell({ kind: 'report', report });
}

const settle = (id: number, outcome: { local: string } | { error: Fault }): void => {
  const waiting = asked.get(id);
  asked.delete(id);
  if ('local' in outcome) waiting?.resolve(outcome.local);
  else waiting?.reject(fromFault(outcome.error));
};

process.on('message', (message: ToChecker) => {
  if (message.kind === 'file') settle(message.id, message);
  else if (message.kind === 'no_file') settle(message.id, message);
  else check(message).catch((error: unknown) => tell({ kind: 'failed', error: toFault(error) }));
});
// The worker is gone, and with it whoever would read the report.
process.on('disconnect', () => process.exit(1));
tell({ kind: 'ready' });
