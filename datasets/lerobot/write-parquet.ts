import type { SchemaElement } from 'hyparquet';
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer';

export interface EpisodeRows {
  readonly episodeIndex: number;
  readonly taskIndex: number;
  /** `index` of the first row in the whole set. */
  readonly firstIndex: number;
  readonly fps: number;
  readonly length: number;
  /** Row-major f32 [length · width] by feature. */
  readonly vectors: Readonly<Record<string, { readonly width: number; values: Float32Array }>>;
}

/** One episode as a parquet file: list columns of float32 and LeRobot's five scalar columns. */
export function episodeParquet(rows: EpisodeRows): Uint8Array {
  const schema: SchemaElement[] = [];
  const columnData: ColumnSource[] = [];
  for (const [name, { width, values }] of Object.entries(rows.vectors)) {
    schema.push(
      { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
      { name: 'element', type: 'FLOAT', repetition_type: 'OPTIONAL' },
    );
    columnData.push({
      name,
      data: Array.from({ length: rows.length }, (_, t) =>
        Array.from(values.subarray(t * width, (t + 1) * width)),
      ),
    });
  }
  schema.push({ name: 'timestamp', type: 'FLOAT', repetition_type: 'OPTIONAL' });
  columnData.push({
    name: 'timestamp',
    data: Float32Array.from({ length: rows.length }, (_, t) => t / rows.fps),
  });
  const integers: Record<string, (t: number) => number> = {
    frame_index: (t) => t,
    episode_index: () => rows.episodeIndex,
    index: (t) => rows.firstIndex + t,
    task_index: () => rows.taskIndex,
  };
  for (const [name, value] of Object.entries(integers)) {
    schema.push({ name, type: 'INT64', repetition_type: 'OPTIONAL' });
    columnData.push({
      name,
      data: BigInt64Array.from({ length: rows.length }, (_, t) => BigInt(value(t))),
    });
  }
  const root: SchemaElement = { name: 'schema', num_children: columnData.length };
  return new Uint8Array(
    parquetWriteBuffer({ columnData, schema: [root, ...schema], rowGroupSize: 100_000 }),
  );
}
