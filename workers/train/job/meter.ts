/** What a call of the optimiser did; it may hold several steps. */
export interface StepResult {
  /** Steps done so far. */
  readonly step: number;
  readonly loss: number;
  readonly actionLoss: number;
  readonly reasoningLoss: number;
  /** Samples seen in this call. */
  readonly samples: number;
}

/** What a job has trained so far, over all its attempts. */
export interface TrainingSoFar {
  readonly step: number;
  /** Seconds spent in steps. */
  readonly seconds: number;
  readonly samples: number;
  /** Mean loss of the first steps; null before any. */
  readonly firstLoss: number | null;
  /** Mean loss of the latest steps; null before any. */
  readonly lastLoss: number | null;
}

export const NOTHING_TRAINED: TrainingSoFar = {
  step: 0,
  seconds: 0,
  samples: 0,
  firstLoss: null,
  lastLoss: null,
};

/** One line of live figures, means over the steps since the last line. */
export interface Metrics {
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
  readonly actionLoss: number;
  readonly reasoningLoss: number;
  readonly samplesPerS: number;
  readonly etaS: number;
  /** Share of the training that is done, 0 to 1. */
  readonly share: number;
}

/** Calls of the optimiser whose mean loss counts as the first and the last loss. */
const LOSS_WINDOW = 20;

/** Adds up what the steps tell, for the summary and for live figures. */
export class TrainingMeter {
  private readonly before: TrainingSoFar;
  private readonly first: number[] = [];
  private readonly last: number[] = [];
  private line: StepResult[] = [];
  private lineSeconds = 0;
  private state: TrainingSoFar;

  constructor(before: TrainingSoFar) {
    this.before = before;
    this.state = before;
  }

  get soFar(): TrainingSoFar {
    return this.state;
  }

  /** @param seconds time that the call took. */
  add(result: StepResult, seconds: number): void {
    if (this.before.firstLoss === null && this.first.length < LOSS_WINDOW) {
      this.first.push(result.loss);
    }
    this.last.push(result.loss);
    if (this.last.length > LOSS_WINDOW) this.last.shift();
    this.line.push(result);
    this.lineSeconds += seconds;
    this.state = {
      step: result.step,
      seconds: this.state.seconds + seconds,
      samples: this.state.samples + result.samples,
      firstLoss: this.before.firstLoss ?? mean(this.first),
      lastLoss: mean(this.last),
    };
  }

  /** Figures since the last call, of which there must be a step. */
  takeLine(steps: number, maxSeconds: number | undefined): Metrics {
    const line = this.line;
    const samples = line.reduce((sum, result) => sum + result.samples, 0);
    const { step, seconds } = this.state;
    const left = [((steps - step) * seconds) / Math.max(1, step)];
    const shares = [step / steps];
    if (maxSeconds !== undefined) {
      left.push(maxSeconds - seconds);
      shares.push(seconds / maxSeconds);
    }
    const metrics = {
      step,
      steps,
      loss: mean(line.map((result) => result.loss)),
      actionLoss: mean(line.map((result) => result.actionLoss)),
      reasoningLoss: mean(line.map((result) => result.reasoningLoss)),
      samplesPerS: this.lineSeconds > 0 ? samples / this.lineSeconds : 0,
      etaS: Math.max(0, Math.min(...left)),
      share: Math.min(1, Math.max(...shares)),
    };
    this.line = [];
    this.lineSeconds = 0;
    return metrics;
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
