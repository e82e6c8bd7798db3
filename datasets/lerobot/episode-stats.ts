/** Statistics of one feature as `episodes_stats.jsonl` has them. */
export interface EpisodeStats {
  min: unknown;
  max: unknown;
  mean: unknown;
  std: unknown;
  count: number[];
}

/** Per dimension over the rows of one episode; population standard deviation. */
export function vectorStats(values: Float32Array, width: number): EpisodeStats {
  const rows = values.length / width;
  const columns = Array.from({ length: width }, (_, dimension) => {
    let min = Infinity;
    let max = -Infinity;
    let sum = 0;
    for (let i = dimension; i < values.length; i += width) {
      const value = values[i] ?? Number.NaN;
      min = Math.min(min, value);
      max = Math.max(max, value);
      sum += value;
    }
    const mean = sum / rows;
    let squares = 0;
    for (let i = dimension; i < values.length; i += width) {
      squares += ((values[i] ?? Number.NaN) - mean) ** 2;
    }
    return { min, max, mean, std: Math.sqrt(squares / rows) };
  });
  return {
    min: columns.map((column) => column.min),
    max: columns.map((column) => column.max),
    mean: columns.map((column) => column.mean),
    std: columns.map((column) => column.std),
    count: [rows],
  };
}

/** Per channel, scaled to [0, 1], shape [3, 1, 1], over evenly spaced pictures as LeRobot samples. */
export function pictureStats(pictures: readonly Uint8Array[]): EpisodeStats {
  const count = Math.min(
    pictures.length,
    Math.max(100, Math.min(Math.floor(pictures.length ** 0.75), 10_000)),
  );
  const channels = Array.from({ length: 3 }, () => ({ min: 255, max: 0, sum: 0, squares: 0 }));
  let pixels = 0;
  for (let n = 0; n < count; n += 1) {
    const at = count === 1 ? 0 : Math.round((n * (pictures.length - 1)) / (count - 1));
    const picture = pictures[at] ?? new Uint8Array(0);
    pixels += picture.length / 3;
    channels.forEach((channel, offset) => {
      for (let i = offset; i < picture.length; i += 3) {
        const value = picture[i] ?? 0;
        if (value < channel.min) channel.min = value;
        if (value > channel.max) channel.max = value;
        channel.sum += value;
        channel.squares += value * value;
      }
    });
  }
  const perChannel = (value: (channel: (typeof channels)[number]) => number): number[][][] =>
    channels.map((channel) => [[value(channel)]]);
  return {
    min: perChannel((channel) => channel.min / 255),
    max: perChannel((channel) => channel.max / 255),
    mean: perChannel((channel) => channel.sum / pixels / 255),
    std: perChannel(({ sum, squares }) => {
      const mean = sum / pixels;
      return Math.sqrt(Math.max(0, squares / pixels - mean * mean)) / 255;
    }),
    count: [count],
  };
}
