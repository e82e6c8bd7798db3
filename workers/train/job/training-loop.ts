import { ArmatureError } from '@armature/sdk/contract';
import { TrainingMeter, type Metrics, type StepResult, type TrainingSoFar } from './meter.ts';
import { PauseRequested, reasonOf, Stopping } from '../../jobs/reasons.ts';

/** What the loop needs of a trainer. */
export interface Steppable {
  readonly totalSteps: number;
  readonly stepIndex: number;
  /** @param elapsed share of the allowed time that is used, 0 to 1; 0 where there is no limit */
  step(elapsed: number): Promise<StepResult>;
  checkpoint(): Promise<Uint8Array>;
}

export interface LoopOptions {
  readonly before: TrainingSoFar;
  /** Seconds of steps after which training ends, if that comes first. */
  readonly maxSeconds: number | undefined;
  readonly checkpointEveryS: number;
  /** A monotonic clock, seconds. */
  readonly now: () => number;
  readonly report: (metrics: Metrics) => Promise<void>;
  readonly save: (bytes: Uint8Array, soFar: TrainingSoFar) => Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Runs the optimiser to its last step or to `maxSeconds`, reports about once a second (less often
 * in long jobs, so that a job has some thousand lines at most), saves a checkpoint every
 * `checkpointEveryS` seconds and at the end. When the process stops, or
 * the job is paused, it saves before it throws.
 *
 * @returns what was trained over all attempts; nothing new if there was nothing left to do.
 * @throws ArmatureError invalid_request when the loss is no longer finite; the signal's reason
 *   within a step of its abort.
 */
export async function runSteps(trainer: Steppable, o: LoopOptions): Promise<TrainingSoFar> {
  const meter = new TrainingMeter(o.before);
  const started = o.now();
  let reportedAt = started;
  let savedAt = started;
  let savedStep = trainer.stepIndex;
  const save = async (): Promise<void> => {
    if (trainer.stepIndex === savedStep) return;
    await o.save(await trainer.checkpoint(), meter.soFar);
    savedStep = trainer.stepIndex;
    savedAt = o.now();
  };
  const done = (): boolean =>
    trainer.stepIndex >= trainer.totalSteps ||
    (o.maxSeconds !== undefined && meter.soFar.seconds >= o.maxSeconds);
  while (!done()) {
    if (o.signal.aborted) {
      const reason = reasonOf(o.signal);
      if (reason instanceof Stopping || reason instanceof PauseRequested) await save();
      throw reason;
    }
    const before = o.now();
    const elapsed = o.maxSeconds === undefined ? 0 : meter.soFar.seconds / o.maxSeconds;
    const result = await trainer.step(Math.min(1, elapsed));
    const after = o.now();
    assertFinite(result);
    meter.add(result, after - before);
    if (done() || after - reportedAt >= Math.max(1, (after - started) / 1000)) {
      await o.report(meter.takeLine(trainer.totalSteps, o.maxSeconds));
      reportedAt = after;
    }
    if (!done() && after - savedAt >= o.checkpointEveryS) await save();
  }
  await save();
  o.signal.throwIfAborted();
  return meter.soFar;
}

function assertFinite(result: StepResult): void {
  if (Number.isFinite(result.loss)) return;
  throw new ArmatureError(
    'invalid_request',
    `training diverged: the loss of step ${result.step} is not finite`,
    { field: 'options.learning_rate', fix: 'Start a fine-tune with a lower learning rate.' },
  );
}
