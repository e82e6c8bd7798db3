/** Observations over which the fastest arrival counts; clocks drift, so old ones are forgotten. */
const WINDOW = 128;
/** Observations that are later than this against the fastest may be so because a clock was set, ms. */
const STEP_MS = 500;
/** As many of these on end, without getting any faster, are taken for a clock that was set. */
const STEPPED = 4;

/**
 * Ages observations without the robot's and the worker's clock agreeing: the smallest difference
 * seen between arrival and capture is taken for clock offset plus the fastest way there, and what an
 * observation took beyond that is its age on arrival.
 *
 * A robot's clock may be set at any time. Set forward it makes differences smaller, which is a new
 * smallest one. Set back it makes all that follow look late: where it goes back behind the capture
 * before, that can be nothing else, since observations come in order, and everything known is
 * forgotten; a smaller step shows only in that all which follow are late alike. What waited in a network
 * that stood still is late too, but less and less so, and stays late.
 */
export class CaptureClock {
  private differences: number[] = [];
  private before = -Infinity;

  /**
   * @param capturedAt ms on the robot's clock.
   * @param arrivedAt ms on a monotonic clock of the worker.
   * @returns age in ms, 0 or more: what the observation lost against the fastest of late.
   */
  age(capturedAt: number, arrivedAt: number): number {
    const difference = arrivedAt - capturedAt;
    if (capturedAt < this.before) this.differences = [];
    this.before = capturedAt;
    this.differences.push(difference);
    if (this.differences.length > WINDOW) this.differences.shift();
    if (this.isStepped()) this.differences = this.differences.slice(-STEPPED);
    return difference - Math.min(...this.differences);
  }

  private isStepped(): boolean {
    const late = this.differences.slice(-STEPPED);
    const [last = NaN, before = NaN] = late.toReversed();
    return last >= before && Math.min(...late) - Math.min(...this.differences) > STEP_MS;
  }
}
