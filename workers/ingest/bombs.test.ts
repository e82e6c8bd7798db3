import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { datasets, eq, withTenant } from '@armature/db';
import { datasetReportSchema } from '@armature/sdk/contract';
import { DiskStore } from '@armature/storage';
import type { CompressionCodec } from 'hyparquet';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { bundled } from '../../test/support/bundle.ts';
import { claimingFrames } from '../../test/support/claiming-frames.ts';
import { muxPicture } from '../../test/support/mux-picture.ts';
import {
  pagesOfZeros,
  parquetWithEndlessRun,
  parquetWithPage,
} from '../../test/support/page-bombs.ts';
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
} from '../../test/support/postgres.ts';
import { discPicture, smallSpec, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { nestedZip, overlappingZip } from '../../test/support/zip-bombs.ts';
import { addOwner, addUploadedSet } from '../../test/support/uploaded-set.ts';

const SECRET = 'a secret that is only for tests, 32+';
const DATA = 'data/chunk-000/episode_000001.parquet';
const VIDEO = 'videos/chunk-000/observation.images.top/episode_000001.mp4';
const CHECK_MIB = 512;

/** The file that it replaces, the file's bytes, and the finding. */
type Bomb = [path: string, make: (file: Buffer) => Uint8Array, finding: object];

/** Most resident memory that a process has had, MiB. */
async function peakMib(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${String(pid)}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

describe('an ingest worker that is sent bombs', () => {
  let server: TestPostgres;
  let db: TestDatabase;
  let good: Awaited<ReturnType<typeof writeSmallDataset>>;
  let folder: string;
  let store: DiskStore;
  let owner: Awaited<ReturnType<typeof addOwner>>;
  let worker: ReturnType<typeof spawn>;
  let stop: () => Promise<void>;

  beforeAll(async () => {
    server = await startTestPostgres();
    db = await server.database();
    good = await writeSmallDataset();
    folder = await mkdtemp(join(tmpdir(), 'armature-ingest-bombs-'));
    store = new DiskStore({ kind: 'disk', ...config(), secret: SECRET });
    owner = await addOwner(db.app, smallSpec);
    await start(['--import', 'tsx', fileURLToPath(new URL('./main.ts', import.meta.url))]);
  });
  afterAll(async () => {
    await stop();
    await server.stop();
    await good.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const config = () => ({ root: join(folder, 'store'), publicUrl: 'http://127.0.0.1:1' });
  /** Starts the worker from an entry of its process, with this environment beside its own. */
  async function start(entry: string[], more: Record<string, string> = {}): Promise<void> {
    const { root, publicUrl } = config();
    const started = spawn(process.execPath, entry, {
      env: {
        PATH: process.env['PATH'],
        WORKER_ID: 'bombed',
        DATABASE_URL: db.workerUrl,
        STORE_KIND: 'disk',
        STORE_ROOT: root,
        STORE_PUBLIC_URL: publicUrl,
        STORE_SECRET: SECRET,
        CACHE_DIR: join(folder, 'cache'),
        CHECK_MEMORY_MIB: String(CHECK_MIB),
        LEASE_MS: '60000',
        POLL_MS: '50',
        LOG_LEVEL: 'warn',
        ...more,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(started, 'exit');
    worker = started;
    stop = async () => {
      started.kill('SIGTERM');
      await exited;
    };
    await Promise.race([
      once(started.stdout, 'data'),
      exited.then(([code]) => {
        throw new Error(`the worker ended with ${String(code)} before it was ready`);
      }),
    ]);
  }

  /** The set's end and its report, once this worker has come to it. */
  const validated = async (directory: string) => {
    const { id } = await addUploadedSet(db.app, store, owner, directory);
    return await ended(id);
  };
  const ended = (id: string) =>
    vi.waitUntil(
      async () => {
        const [row] = await withTenant(db.app, owner.tenantId, (tx) =>
          tx.select().from(datasets).where(eq(datasets.id, id)),
        );
        if (row === undefined || row.status === 'validating') return undefined;
        return { status: row.status, report: datasetReportSchema.parse(row.report) };
      },
      { timeout: 300_000, interval: 100 },
    );

  const isRefusedAlone = async (...[path, make, finding]: Bomb): Promise<void> => {
    const directory = join(await mkdtemp(join(folder, 'set-')), 'set');
    await cp(good.directory, directory, { recursive: true });
    await writeFile(join(directory, path), make(await readFile(join(directory, path))));
    const bad = await validated(directory);
    expect(bad.status).toBe('rejected');
    const errors = bad.report.findings.filter(({ severity }) => severity === 'error');
    expect(errors).toMatchObject([finding]);
    expect(errors[0]?.fix).not.toBe('');

    const next = await validated(good.directory);
    expect(next).toMatchObject({ status: 'ready', report: { episodes: 3, findings: [] } });
    expect(next.report.ingest.peak_rss_mb).toBeLessThan(CHECK_MIB);
    expect(worker.exitCode).toBeNull();
    if (process.platform === 'linux') expect(await peakMib(worker.pid)).toBeLessThan(CHECK_MIB);
  };

  it('refuses a run of two thousand million levels in 300 bytes of parquet by its episode, and takes the good set after it', async () => {
    await isRefusedAlone(DATA, parquetWithEndlessRun, {
      code: 'too_large',
      episode: 1,
      message: `reading episode 1 takes more than ${CHECK_MIB} MiB of memory`,
    });
  }, 600_000);

  describe('whose processes start at once', () => {
    beforeAll(async () => {
      await stop();
      const checker = await bundled('workers/ingest/checker.ts');
      await start([await bundled('test/support/ingest-main.ts')], { CHECKER: checker });
    });

    const bombs: [string, ...Bomb][] = [
      [
        'a mp4 of a hundred million pictures',
        VIDEO,
        (file) => claimingFrames(file, 100_000_000),
        { episode: 1 },
      ],
      [
        'a page that becomes 4 GiB',
        DATA,
        () => parquetWithPage('ZSTD', pagesOfZeros.ZSTD?.(4096) ?? new Uint8Array(0), 30),
        { code: 'broken_file', episode: 1 },
      ],
    ];
    it.each(bombs)(
      'refuses %s by its episode, and takes the good set after it',
      { timeout: 600_000 },
      async (_name, ...bomb) => isRefusedAlone(...bomb),
    );

    it('refuses every other bomb for what it is, and takes the good set that came after them', async () => {
      const page = (codec: CompressionCodec, mib: number, rows: number): Buffer =>
        parquetWithPage(codec, pagesOfZeros[codec]?.(mib) ?? new Uint8Array(0), rows);
      const still = { raw: { width: 48, height: 48, channels: 3 } } as const;
      const jpeg = await sharp(discPicture(1, 0), still).jpeg({ progressive: true }).toBuffer();
      const at = jpeg.lastIndexOf(Buffer.of(0xff, 0xda));
      const scans = Array.from({ length: 100 }, () => jpeg.subarray(at, jpeg.length - 2));
      const muxed = async (picture: Buffer, side: number): Promise<Buffer> => {
        const file = join(folder, 'muxed.mp4');
        await muxPicture(file, picture, side);
        return readFile(file);
      };
      const line = Buffer.from(`{"task_index":0,"task":"${'x'.repeat(17 << 20)}"}`);
      const others: [string, Uint8Array, object][] = [
        [
          'meta/info.json',
          Buffer.alloc(17 << 20, ' '),
          { code: 'too_large', feature: 'meta/info.json' },
        ],
        ['meta/tasks.jsonl', line, { code: 'too_large', feature: 'meta/tasks.jsonl' }],
        ['meta/episodes.zip', nestedZip(9), { code: 'broken_file', feature: 'meta/episodes.zip' }],
        [DATA, overlappingZip(4_000), { code: 'broken_file', feature: DATA }],
        [DATA, gzipSync(Buffer.alloc(50 << 20)), { code: 'broken_file', episode: 1 }],
        [DATA, page('GZIP', 50, 30), { code: 'broken_file', episode: 1 }],
        [DATA, page('BROTLI', 50, 30), { code: 'broken_file', episode: 1 }],
        [DATA, page('ZSTD', 76, 20_000_000), { code: 'broken_file', episode: 1 }],
        [
          VIDEO,
          await muxed(Buffer.concat([jpeg.subarray(0, at), ...scans, jpeg.subarray(at)]), 48),
          { code: 'broken_file', episode: 1 },
        ],
        [VIDEO, await muxed(jpeg, 16_384), { code: 'broken_file', episode: 1 }],
      ];
      const sets = [];
      for (const [path, bytes, finding] of others) {
        const directory = join(await mkdtemp(join(folder, 'set-')), 'set');
        await cp(good.directory, directory, { recursive: true });
        await writeFile(join(directory, path), bytes);
        const { id } = await addUploadedSet(db.app, store, owner, directory);
        sets.push({ id, path, finding });
      }
      expect((await validated(good.directory)).status).toBe('ready');
      for (const { id, path, finding } of sets) {
        const bad = await ended(id);
        expect(bad.status, path).toBe('rejected');
        const errors = bad.report.findings.filter(({ severity }) => severity === 'error');
        expect(errors, path).toMatchObject([finding]);
      }
      expect(worker.exitCode).toBeNull();
      if (process.platform === 'linux') expect(await peakMib(worker.pid)).toBeLessThan(CHECK_MIB);
    }, 600_000);
  });
});
