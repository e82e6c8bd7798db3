import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync, gzipSync } from 'node:zlib';
import type { CompressionCodec } from 'hyparquet';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimingFrames } from '../../test/support/claiming-frames.ts';
import { pagesOfZeros, parquetWithPage, zstdOfZeros } from '../../test/support/page-bombs.ts';
import { nestedZip, overlappingZip } from '../../test/support/zip-bombs.ts';
import { discPicture, smallSpec, writeSmallDataset } from '../../test/support/small-dataset.ts';
import { type BlobSource, fromDirectory, validateSource } from '../index.ts';
import { muxPicture } from '../../test/support/mux-picture.ts';
import { decodeRgb } from '../video/decode-rgb.ts';
import { encodeVideo } from '../video/encode.ts';

const DATA = 'data/chunk-000/episode_000001.parquet';

/** A parquet file of nothing but the end: metadata of the length given, all zeros. */
function parquetEnd(metadataBytes: number): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(metadataBytes, 0);
  tail.write('PAR1', 4);
  return tail;
}

/** A varint of Thrift's compact protocol. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}
const zigzag = (value: number): number[] => varint(value * 2);

/** Metadata of a file with `groups` row groups of no columns. */
function manyRowGroups(groups: number): Buffer {
  const root = [0x48, 6, ...Buffer.from('schema'), 0x15, ...zigzag(0), 0];
  const header = [
    0x15,
    ...zigzag(1),
    0x19,
    0x1c,
    ...root,
    0x16,
    ...zigzag(groups),
    0x19,
    0xfc,
    ...varint(groups),
  ];
  // Each: columns [], total_byte_size 0, num_rows 1.
  const group = [0x19, 0x0c, 0x16, 0, 0x16, ...zigzag(1), 0];
  const body = Buffer.concat([
    Buffer.from(header),
    Buffer.alloc(groups * group.length, Buffer.from(group)),
    Buffer.from([0]),
  ]);
  return Buffer.concat([Buffer.from('PAR1'), body, parquetEnd(body.length)]);
}

/** A PNG that declares a size and holds next to nothing. */
function pngOf(width: number, height: number): Buffer {
  const ihdr = Buffer.alloc(13);
  ihdr.writeUInt32BE(width, 0);
  ihdr.writeUInt32BE(height, 4);
  ihdr.set([8, 2, 0, 0, 0], 8);
  const chunk = (type: string, data: Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    return Buffer.concat([length, Buffer.from(type), data, Buffer.alloc(4)]);
  };
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([
    signature,
    chunk('IHDR', ihdr),
    chunk('IDAT', deflateSync(Buffer.alloc(64))),
  ]);
}

/** The segments of a JPEG up to its scan, of which there is nothing. */
function jpegOf(width: number, height: number): Buffer {
  const frame = Buffer.from([0xff, 0xc0, 0, 17, 8, 0, 0, 0, 0, 3, 1, 17, 0, 2, 17, 0, 3, 17, 0]);
  frame.writeUInt16BE(height, 5);
  frame.writeUInt16BE(width, 7);
  const comment = Buffer.from([0xff, 0xfe, 0, 4, 1, 2]);
  return Buffer.concat([Buffer.from([0xff, 0xd8]), comment, frame, Buffer.from([0xff, 0xd9])]);
}

describe('files that lie about themselves', () => {
  let good: Awaited<ReturnType<typeof writeSmallDataset>>;
  let scratch: string;
  let copies = 0;
  beforeAll(async () => {
    good = await writeSmallDataset();
    scratch = await mkdtemp(join(tmpdir(), 'armature-bombs-'));
  });
  afterAll(async () => {
    await good.remove();
    await rm(scratch, { recursive: true, force: true });
  });
  const withFile = async (path: string, bytes: Uint8Array): Promise<string> => {
    const directory = join(scratch, String(copies++));
    await cp(good.directory, directory, { recursive: true });
    await writeFile(join(directory, path), bytes);
    return directory;
  };
  const heldMb = (): number => process.memoryUsage().rss / 2 ** 20;

  const parquet: [string, () => Buffer, RegExp][] = [
    ['a million row groups', () => manyRowGroups(1_000_000), /1000000 row groups, more than/],
    ['no content at all', () => Buffer.alloc(0), /but 0 bytes/],
    [
      'metadata larger than anything',
      () => Buffer.concat([Buffer.alloc(100), parquetEnd(0x7fffffff)]),
      /2147483647 bytes of metadata, more than/,
    ],
    [
      'gzip of a thousand times its size',
      () => gzipSync(Buffer.alloc(50 << 20)),
      /no readable parquet/,
    ],
  ];
  it.each(parquet)('refuses rows with %s', async (_name, bytes, message) => {
    const directory = await withFile(DATA, bytes());
    const before = heldMb();
    const report = await validateSource(fromDirectory(directory), smallSpec);
    const errors = report.findings.filter(({ severity }) => severity === 'error');
    expect(errors).toMatchObject([{ code: 'broken_file', episode: 1 }]);
    expect(errors[0]?.message).toMatch(message);
    expect(heldMb() - before).toBeLessThan(400);
  });

  const lies = Object.entries(pagesOfZeros) as [CompressionCodec, (mib: number) => Uint8Array][];
  it.each(lies)(
    'refuses a page of %s that declares 120 bytes and holds 50 MiB',
    async (...bomb) => {
      const [codec, zeros] = bomb;
      const directory = await withFile(DATA, parquetWithPage(codec, zeros(50), 30));
      const before = heldMb();
      const report = await validateSource(fromDirectory(directory), smallSpec);
      const errors = report.findings.filter(({ severity }) => severity === 'error');
      expect(errors).toMatchObject([{ code: 'broken_file', episode: 1 }]);
      expect(errors[0]?.message).toMatch(/is no readable parquet file/);
      expect(heldMb() - before).toBeLessThan(100);
    },
  );

  it('refuses a page that owns up to 80 MB', async () => {
    const page = zstdOfZeros(76);
    expect(80e6 / page.length).toBeGreaterThan(1_000);
    const directory = await withFile(DATA, parquetWithPage('ZSTD', page, 20_000_000));
    const report = await validateSource(fromDirectory(directory), smallSpec);
    const errors = report.findings.filter(({ severity }) => severity === 'error');
    expect(errors).toMatchObject([{ code: 'broken_file', episode: 1 }]);
    expect(errors[0]?.message).toMatch(/80000000 bytes in one page, more than/);
  });

  const archives: [string, () => Buffer][] = [
    ['of one archive inside another', () => nestedZip(9)],
    ['whose entries lie over one another', () => overlappingZip(4_000)],
  ];
  it.each(archives)('opens no zip %s', async (_name, zip) => {
    const asked: string[] = [];
    for (const path of ['meta/episodes.zip', DATA]) {
      const directory = await withFile(path, zip());
      const files = fromDirectory(directory);
      const watched: BlobSource = {
        ...files,
        read: async (at, range) => {
          asked.push(at);
          return await files.read(at, range);
        },
      };
      const before = heldMb();
      const report = await validateSource(watched, smallSpec);
      const errors = report.findings.filter(({ severity }) => severity === 'error');
      expect(errors).toMatchObject([{ code: 'broken_file', feature: path }]);
      expect(errors[0]?.fix).toMatch(/Unpack|again/);
      expect(heldMb() - before).toBeLessThan(100);
    }
    expect(asked).not.toContain('meta/episodes.zip');
  });

  it('refuses a set that is nothing but an archive, and says what to do', async () => {
    const directory = await mkdtemp(join(scratch, 'zip-'));
    await writeFile(join(directory, 'set.zip'), nestedZip(3));
    const report = await validateSource(fromDirectory(directory), smallSpec);
    expect(report.findings[0]).toMatchObject({
      severity: 'error',
      feature: 'set.zip',
      fix: 'Unpack set.zip and upload the files that it holds.',
    });
  });

  it.each(['png', 'jpeg'] as const)(
    'refuses a %s of 16,384 pixels a side before it is decoded',
    async (encoding) => {
      const bytes = (encoding === 'png' ? pngOf : jpegOf)(16_384, 16_384);
      const pictures = () => [{ seconds: 0, width: 1, height: 1, encoding, bytes }];
      const before = heldMb();
      await expect(
        decodeRgb({ kind: 'pictures', name: 'camera', pictures }, () => undefined),
      ).rejects.toMatchObject({ code: 'invalid_dataset', message: /16384×16384 pixels/ });
      expect(heldMb() - before).toBeLessThan(100);
    },
  );

  it('refuses a JPEG of more scans than any encoder writes, alone or in an mp4', async () => {
    const plain = await sharp(discPicture(1, 0), { raw: { width: 48, height: 48, channels: 3 } })
      .jpeg({ progressive: true })
      .toBuffer();
    const last = plain.lastIndexOf(Buffer.of(0xff, 0xda));
    const scan = plain.subarray(last, plain.length - 2);
    const bomb = Buffer.concat([
      plain.subarray(0, last),
      ...Array.from({ length: 64 }, () => scan),
      plain.subarray(last),
    ]);
    const decode = async (bytes: Buffer, how: 'alone' | 'mp4'): Promise<number> => {
      if (how === 'mp4') {
        const path = join(scratch, 'picture.mp4');
        await muxPicture(path, bytes, 48);
        return decodeRgb({ kind: 'file', name: 'camera', path }, () => undefined);
      }
      const pictures = () => [
        { seconds: 0, width: 48, height: 48, encoding: 'jpeg' as const, bytes },
      ];
      return decodeRgb({ kind: 'pictures', name: 'camera', pictures }, () => undefined);
    };
    for (const how of ['alone', 'mp4'] as const) {
      expect(await decode(plain, how)).toBe(1);
      await expect(decode(bomb, how)).rejects.toMatchObject({
        code: 'invalid_dataset',
        message: expect.stringMatching(/^camera(\[0\])? has more than 64 scans$/) as string,
      });
    }
  });

  it('stops at a video that goes on and on', async () => {
    const directory = join(scratch, 'endless');
    await cp(good.directory, directory, { recursive: true });
    const video = join(directory, 'videos/chunk-000/observation.images.top/episode_000001.mp4');
    const still = discPicture(1, 0);
    const pictures = Array.from({ length: 1_200 }, () => still);
    await encodeVideo(video, pictures, { width: 48, height: 48, fps: 10 });
    const report = await validateSource(fromDirectory(directory), smallSpec);
    expect(report.findings.find(({ code }) => code === 'video_long')?.message).toMatch(
      /at least 330 frames for 30 rows/,
    );
  });

  it('takes an mp4 that claims a million pictures for the damage that it is', async () => {
    const path = 'videos/chunk-000/observation.images.top/episode_000001.mp4';
    const video = await readFile(join(good.directory, path));
    const directory = await withFile(path, claimingFrames(video, 1_000_000));
    const before = heldMb();
    const report = await validateSource(fromDirectory(directory), smallSpec);
    const errors = report.findings.filter(({ severity }) => severity === 'error');
    expect(errors).toMatchObject([{ episode: 1, feature: 'top' }]);
    expect(heldMb() - before).toBeLessThan(300);
  });

  it('refuses a video of 16,384 pixels a side', async () => {
    const path = 'videos/chunk-000/observation.images.top/episode_000001.mp4';
    const directory = await withFile(path, Buffer.alloc(0));
    await muxPicture(join(directory, path), pngOf(16_384, 16_384), 16_384);
    const before = heldMb();
    const report = await validateSource(fromDirectory(directory), smallSpec);
    const errors = report.findings.filter(({ severity }) => severity === 'error');
    expect(errors).toMatchObject([{ code: 'broken_file', episode: 1, feature: 'top' }]);
    // FFmpeg drops sizes that it takes for a lie, or hands them on.
    expect(errors[0]?.message).toMatch(/(0×0|16384×16384) pixels, not 1 to 4096/);
    expect(heldMb() - before).toBeLessThan(400);
  });

  it('does not leave the folder of the set', async () => {
    const asked: string[] = [];
    const files = fromDirectory(good.directory);
    const info = Buffer.from(await files.read('meta/info.json'))
      .toString()
      .replace('data/chunk-{episode_chunk:03d}', '../../../../etc');
    const lying: BlobSource = {
      list: files.list,
      size: async (path) => {
        asked.push(path);
        return path === 'meta/info.json' ? info.length : await files.size(path);
      },
      read: async (path, range) =>
        path === 'meta/info.json' ? Buffer.from(info) : await files.read(path, range),
    };
    const report = await validateSource(lying, smallSpec);
    expect(asked.some((path) => path.includes('/etc/'))).toBe(true);
    const errors = report.findings.filter(({ severity }) => severity === 'error');
    expect(errors[0]?.message).toMatch(/lies outside the data set/);
  });
});
