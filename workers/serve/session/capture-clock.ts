/** Observations over which the fastest arrival counts; clocks drift, so old ones are forgotten. */
const WINDOW = 128;

/**
 * Ages observations without the robot's and the worker's clock agreeing: the smallest difference
 * seen between arrival and capture is taken for clock offset plus the fastest way there, and what an
 * observation took beyond that is its age on arrival.
 */
export class CaptureClock {
  private readonly differences: number[] = [];

  /**
   * @param capturedAt ms on the robot's clock.
   * @param arrivedAt ms on the worker's clock.
   * @returns age in ms, 0 or more: what the observation lost against the fastest of late.
   */
  age(capturedAt: number, arrivedAt: number): number {
    const difference = arrivedAt - capturedAt;
    this.differences.push(difference);
    if (this.differences.length > WINDOW) this.differences.shift();
    return difference - Math.min(...this.differences);
  }
}
