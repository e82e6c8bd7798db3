import type { NewJobEvent } from '@armature/db';

/** What keeping the features of frozen parts saves a job. */
export interface FeatureSaving {
  /** Passes of the frozen parts that were run, a frame each. */
  readonly passes: number;
  /** Passes that the steps would take without the features kept. */
  readonly reads: number;
  /** What the passes took, by the wall clock. */
  readonly seconds: number;
}

/** Times the passes of the frozen parts from what they report: once before the first, and on the way. */
export class FeatureMeter {
  private readonly now: () => number;
  private startedAt: number | undefined;
  private last: FeatureSaving | undefined;

  /** @param now a monotonic clock, seconds */
  constructor(now: () => number) {
    this.now = now;
  }

  see({ done, total, reads }: { done: number; total: number; reads: number }): void {
    this.startedAt ??= this.now();
    if (done === total) {
      this.last = { passes: total, reads, seconds: this.now() - this.startedAt };
    }
  }

  /** Undefined until the last pass is through. */
  get saving(): FeatureSaving | undefined {
    return this.last;
  }
}

/**
 * The saving as an event of the job. Seconds saved are those of the passes avoided, at the rate of
 * those that were run; none where steps read fewer rows than there are frames.
 */
export function featuresEvent({ passes, reads, seconds }: FeatureSaving): NewJobEvent {
  const avoided = Math.max(0, reads - passes);
  const saved = passes === 0 ? 0 : (avoided * seconds) / passes;
  const result =
    avoided === 0
      ? `the steps read ${reads}, which saves nothing`
      : `the steps read ${reads}: ${avoided} passes saved, some ${figure(saved)} s`;
  return {
    kind: 'message',
    message: `features of the frozen parts, computed once: ${passes} passes in ${figure(seconds)} s; ${result}`,
    data: { passes, reads, passes_saved: avoided, seconds, seconds_saved: saved },
  };
}

/** Two significant digits below a hundred, whole numbers above. */
function figure(seconds: number): string {
  return seconds < 100 ? String(Number(seconds.toPrecision(2))) : String(Math.round(seconds));
}
