/** Positions of a prompt with images on Qwen2-VL's three axes, as plain numbers: no graph needed. */

/** Patches of an image (or video) along time, height and width, before merging. */
export interface VisionGrid {
  readonly time: number;
  readonly height: number;
  readonly width: number;
}

export interface PromptPositions {
  /** i64 [3, B, T]: time, height, width; 0 where a token is padding. */
  readonly positions: BigInt64Array;
  /** Of each row: what a generated token's position has over the number of real tokens before it. */
  readonly deltas: readonly number[];
}

export interface PromptLayout {
  /** i64 [B, T] */
  readonly ids: ArrayLike<bigint>;
  /** [B, T], 0 for padding. */
  readonly keep: ArrayLike<bigint | number>;
  readonly rows: number;
  /** The id that stands for one visual token. */
  readonly imageToken: number;
  /** Patches along each side that are merged into one visual token. */
  readonly merge: number;
  /** In the order of the prompt, row after row. */
  readonly images: readonly VisionGrid[];
}

/**
 * Text counts on all axes together; an image stands at the counter by time, and by row and column of
 * its merged patches; the counter goes on behind the largest of them.
 * @throws RangeError when the images' tokens are not as many as their grids say.
 */
export function promptPositions(layout: PromptLayout): PromptPositions {
  const { ids, keep, rows, images, imageToken, merge } = layout;
  const length = ids.length / rows;
  const positions = new BigInt64Array(3 * ids.length);
  const deltas: number[] = [];
  let image = 0;
  for (let row = 0; row < rows; row += 1) {
    let next = 0;
    let real = 0;
    const put = (t: number, at: readonly [number, number, number]): void => {
      at.forEach((value, axis) => {
        positions[(axis * rows + row) * length + t] = BigInt(value);
      });
      real += 1;
    };
    for (let t = 0; t < length;) {
      const place = row * length + t;
      if (Number(keep[place]) === 0) {
        t += 1;
        continue;
      }
      if (Number(ids[place]) !== imageToken) {
        put(t, [next, next, next]);
        next += 1;
        t += 1;
        continue;
      }
      const grid = images[image];
      if (grid === undefined) throw new RangeError(`row ${row} has more images than grids`);
      const cells = cellsOf(grid, merge);
      const run = cells.every((_, i) => Number(ids[place + i]) === imageToken && t + i < length);
      if (!run) {
        throw new RangeError(`image ${image} needs ${cells.length} visual tokens in a row`);
      }
      const base = next;
      for (const [time, y, x] of cells) {
        put(t, [base + time, base + y, base + x]);
        next = Math.max(next, base + 1 + Math.max(time, y, x));
        t += 1;
      }
      image += 1;
    }
    deltas.push(next - real);
  }
  if (image !== images.length) {
    throw new RangeError(`${images.length} grids, but the prompt has ${image} images`);
  }
  return { positions, deltas };
}

/** Visual tokens that a grid gives. */
export function visualTokens(grid: VisionGrid, merge: number): number {
  return (grid.time * grid.height * grid.width) / merge ** 2;
}

/** Time, row and column of each visual token, in their order. */
function cellsOf(grid: VisionGrid, merge: number): [number, number, number][] {
  const [height, width] = [grid.height / merge, grid.width / merge];
  return Array.from({ length: grid.time * height * width }, (_, i) => [
    Math.floor(i / (height * width)),
    Math.floor(i / width) % height,
    i % width,
  ]);
}

/**
 * For each token the row of the visual features that it stands for, or -1 for text: i64 [B, T].
 * Features lie one image after the other, in the order of the prompt.
 */
export function visualPlaces(ids: ArrayLike<bigint>, imageToken: number): BigInt64Array {
  let next = 0n;
  return BigInt64Array.from({ length: ids.length }, (_, i) => {
    if (Number(ids[i]) !== imageToken) return -1n;
    next += 1n;
    return next - 1n;
  });
}
