import { parquetWriteBuffer } from 'hyparquet-writer';

/** A picture in a table: the file, and the name it goes by. */
export interface PictureFile {
  readonly bytes: Uint8Array;
  readonly path: string;
}

export interface EpisodeColumns {
  readonly fps: number;
  /** Rows of f32 by feature. */
  readonly vectors: Readonly<Record<string, readonly Float32Array[]>>;
  /** Pictures by feature. */
  readonly pictures: Readonly<Record<string, readonly PictureFile[]>>;
  /** Task of each row. */
  readonly tasks: readonly number[];
}

/** Readers hold one group of pictures at a time. */
const ROWS_A_GROUP = 256;

type WriteOptions = Parameters<typeof parquetWriteBuffer>[0];
type Schema = NonNullable<WriteOptions['schema']>;

/** The first episode of a set as a parquet file, as LeRobot lays it out. */
export function episodeTable({ fps, vectors, pictures, tasks }: EpisodeColumns): Uint8Array {
  const schema: Schema = [];
  const columnData: WriteOptions['columnData'] = [];
  for (const [name, rows] of Object.entries(vectors)) {
    schema.push(
      { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      { name: 'element', type: 'FLOAT', repetition_type: 'OPTIONAL' },
    );
    columnData.push({ name, data: rows.map((row) => Array.from(row)) });
  }
  for (const [name, files] of Object.entries(pictures)) {
    schema.push(
      { name, repetition_type: 'OPTIONAL', num_children: 2 },
      { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
      { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
    );
    columnData.push({ name, data: [...files] });
  }
  const integers: Readonly<Record<string, (row: number) => number>> = {
    frame_index: (row) => row,
    episode_index: () => 0,
    index: (row) => row,
    task_index: (row) => tasks[row] ?? 0,
  };
  schema.push({ name: 'timestamp', type: 'FLOAT', repetition_type: 'OPTIONAL' });
  columnData.push({ name: 'timestamp', data: Float32Array.from(tasks, (_, row) => row / fps) });
  for (const [name, value] of Object.entries(integers)) {
    schema.push({ name, type: 'INT64', repetition_type: 'OPTIONAL' });
    columnData.push({ name, data: BigInt64Array.from(tasks, (_, row) => BigInt(value(row))) });
  }
  const root: Schema[number] = { name: 'schema', num_children: columnData.length };
  return new Uint8Array(
    parquetWriteBuffer({ columnData, schema: [root, ...schema], rowGroupSize: ROWS_A_GROUP }),
  );
}
