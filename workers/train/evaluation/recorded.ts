/** One recorded episode in raw units, as evaluation needs it: joints and commands, no pictures. */
export interface RecordedEpisode {
  readonly index: number;
  /** Number of frames T. */
  readonly length: number;
  /** Measured joints, [T, S] row by row. */
  readonly state: Float32Array;
  /** Commands, [T, A] row by row. */
  readonly action: Float32Array;
}

/** Mean and standard deviation per dimension over every frame of the training set. */
export interface Moments {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Row `t` of a row-major array of `width` columns, without a copy. */
export function row(values: Float32Array, t: number, width: number): Float32Array {
  return values.subarray(t * width, (t + 1) * width);
}
