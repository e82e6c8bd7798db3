/** How far commands bend where one chunk takes over from another. */
export class Seams {
  count = 0;
  private total = 0;
  private readonly width: number;
  private readonly std: readonly number[];

  /** @param std of each action dimension, the unit of a bend */
  constructor(width: number, std: readonly number[]) {
    this.width = width;
    this.std = std;
  }

  /**
   * @param executed f32 [2, width], the last commands before `chunk`
   * @param chunk f32 [n, width], executed from here on; its first `delay` actions are of the chunk before
   */
  add(executed: Float32Array, chunk: Float32Array, delay: number): void {
    const at = (step: number, a: number): number =>
      (step < 0 ? executed[(step + 2) * this.width + a] : chunk[step * this.width + a]) ?? NaN;
    for (const middle of [delay - 1, delay]) {
      for (let a = 0; a < this.width; a++) {
        const bend = at(middle + 1, a) - 2 * at(middle, a) + at(middle - 1, a);
        this.total += Math.abs(bend) / ((this.std[a] ?? NaN) * 2 * this.width);
      }
    }
    this.count += 1;
  }

  /** Mean second difference at the last action of one chunk and the first of the next, in `std`. */
  get bend(): number {
    return this.total / this.count;
  }
}
