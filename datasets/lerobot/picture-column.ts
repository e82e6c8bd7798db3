import { parquetReadObjects } from 'hyparquet';
import { ArmatureError } from '@armature/sdk/contract';
import { z } from 'zod';
import type { Camera, StillPicture, VideoInput } from '../dataset.ts';
import type { BlobSource } from '../source/blob-source.ts';
import type { RowRange } from './columns.ts';
import { withParquet } from './parquet-file.ts';

const cellSchema = z.object({ bytes: z.instanceof(Uint8Array) });

/**
 * An episode's pictures that lie in its table as files (features of dtype `image`), as the decoder takes
 * them. They are read a row group at a time.
 * @param range rows of the episode; all of the file when absent
 */
export function pictureColumn(
  source: BlobSource,
  path: string,
  camera: Camera,
  fps: number,
  range?: RowRange,
): VideoInput {
  return {
    kind: 'pictures',
    name: `${path} (${camera.feature})`,
    pictures: () => readPictures(source, path, camera, fps, range),
  };
}

async function* readPictures(
  source: BlobSource,
  path: string,
  camera: Camera,
  fps: number,
  range?: RowRange,
): AsyncGenerator<StillPicture> {
  let t = 0;
  for (const { start, end } of await groupsOf(source, path, range)) {
    const rows = await withParquet(source, path, ({ file, metadata, compressors }) =>
      parquetReadObjects({
        file,
        metadata,
        compressors,
        columns: [camera.feature],
        rowStart: start,
        rowEnd: end,
        utf8: false,
      }),
    );
    for (const row of rows) {
      const cell = cellSchema.safeParse(row[camera.feature]);
      if (!cell.success) throw noPicture(path, camera, t);
      const { bytes } = cell.data;
      const { width, height } = camera;
      yield { seconds: t / fps, width, height, encoding: encodingOf(bytes), bytes };
      t += 1;
    }
  }
}

/** Rows of each row group, as far as they are wanted. */
async function groupsOf(
  source: BlobSource,
  path: string,
  range: RowRange | undefined,
): Promise<RowRange[]> {
  const counts = await withParquet(source, path, async ({ metadata }) =>
    metadata.row_groups.map((group) => Number(group.num_rows)),
  );
  let before = 0;
  const groups = counts.map((rows) => {
    const start = before;
    before += rows;
    return { start, end: before };
  });
  const { start: first, end: last } = range ?? { start: 0, end: before };
  return groups
    .map(({ start, end }) => ({ start: Math.max(start, first), end: Math.min(end, last) }))
    .filter(({ start, end }) => start < end);
}

/** Files say by their first bytes what they are; what is neither is refused when it is decoded. */
function encodingOf(bytes: Uint8Array): 'jpeg' | 'png' {
  return bytes[0] === 0x89 && bytes[1] === 0x50 ? 'png' : 'jpeg';
}

function noPicture(path: string, camera: Camera, row: number): ArmatureError {
  return new ArmatureError(
    'invalid_dataset',
    `${path}: row ${row} of ${camera.feature} holds no picture`,
    { field: camera.feature, fix: `Write the picture’s bytes into ${path}.` },
  );
}
