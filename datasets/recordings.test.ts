import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parquetMetadataAsync } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { fixturePath, readFixtureJson } from '../test/support/fixtures.ts';
import { type Dataset, fromDirectory, openDataset } from './index.ts';

const rows = z.array(z.array(z.number()));
const expected = z
  .object({
    fps: z.number(),
    names: z.array(z.string()),
    tasks: z.array(z.string()),
    side: z.number(),
    pictures: z.array(z.array(z.string())),
    episodes: z.array(z.object({ state: rows, action: rows, timestamps: z.array(z.number()) })),
  })
  .parse(await readFixtureJson('recordings', 'expected.json'));

async function expectNumbers(dataset: Dataset): Promise<void> {
  expect(dataset).toMatchObject({
    fps: expected.fps,
    stateNames: expected.names,
    actionNames: expected.names,
    tasks: expected.tasks,
  });
  expect(dataset.episodes.map(({ length }) => length)).toEqual(
    expected.episodes.map(({ timestamps }) => timestamps.length),
  );
  for (const [index, wanted] of expected.episodes.entries()) {
    const episode = await dataset.readEpisode(index);
    expect(episode.instruction).toBe(expected.tasks[index]);
    expect([...episode.state]).toEqual(wanted.state.flat());
    expect([...episode.action]).toEqual(wanted.action.flat());
    expect([...episode.timestamps]).toEqual(wanted.timestamps);
  }
}

/** Codec of every column of a parquet file. */
async function codecs(path: string): Promise<Set<string>> {
  const bytes = await readFile(path);
  const file = {
    byteLength: bytes.length,
    slice: (start: number, end?: number) => new Uint8Array(bytes.subarray(start, end)).buffer,
  };
  const { row_groups: groups } = await parquetMetadataAsync(file);
  expect(groups.length).toBeGreaterThan(1);
  const columns = groups.flatMap((group) => group.columns);
  return new Set(columns.map((column) => column.meta_data?.codec ?? 'none'));
}

describe('recordings written by others’ code', () => {
  const sets = [
    ['v20', 'lerobot-v2.0', 'data/chunk-000/episode_000000.parquet'],
    ['v21', 'lerobot-v2.1', 'data/chunk-000/episode_000001.parquet'],
    ['v30-task', 'lerobot-v3.0', 'data/chunk-000/file-000.parquet'],
    ['v30-index', 'lerobot-v3.0', 'data/chunk-000/file-000.parquet'],
  ] as const;
  it.each(sets)('reads %s of pyarrow, each column of another codec', async (name, format, data) => {
    const directory = fixturePath('recordings', name);
    expect(await codecs(join(directory, data))).toEqual(
      new Set(['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'BROTLI', 'ZSTD', 'LZ4_RAW']),
    );
    const dataset = await openDataset(fromDirectory(directory));
    expect(dataset.format).toBe(format);
    await expectNumbers(dataset);
  });

  it('reads HDF5 of h5py, pictures deflated or in a piece', async () => {
    const dataset = await openDataset(fromDirectory(fixturePath('recordings', 'aloha')));
    try {
      expect(dataset.format).toBe('aloha-hdf5');
      await expectNumbers(dataset);
      for (const [index, wanted] of expected.pictures.entries()) {
        const seen: string[] = [];
        await dataset.decodeFrames(index, 'top', (_, rgb, width, height) => {
          expect([width, height]).toEqual([expected.side, expected.side]);
          seen.push(createHash('sha1').update(rgb).digest('hex'));
        });
        expect(seen).toEqual(wanted);
      }
    } finally {
      await dataset.close();
    }
  });
});
