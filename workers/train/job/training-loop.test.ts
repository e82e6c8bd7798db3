import { describe, expect, it } from 'vitest';
import { NOTHING_TRAINED, type Metrics, type StepResult, type TrainingSoFar } from './meter.ts';
import { CancelRequested, Stopping } from '../../jobs/reasons.ts';
import { runSteps, type LoopOptions, type Steppable } from './training-loop.ts';

interface Fake extends Steppable {
  stepIndex: number;
}

/** A trainer whose step takes `stepSeconds` of a made-up clock and whose loss is 100 / step. */
function fake(
  totalSteps: number,
  stepSeconds = 1,
  from = 0,
): { clock: { seconds: number }; trainer: Fake } {
  const clock = { seconds: 1000 };
  const trainer: Fake = {
    totalSteps,
    stepIndex: from,
    step(): Promise<StepResult> {
      clock.seconds += stepSeconds;
      trainer.stepIndex += 1;
      const step = trainer.stepIndex;
      return Promise.resolve({
        step,
        loss: 100 / step,
        actionLoss: step,
        reasoningLoss: 2 * step,
        samples: 4,
      });
    },
    checkpoint: () => Promise.resolve(Uint8Array.of(trainer.stepIndex)),
  };
  return { clock, trainer };
}

function options(clock: { seconds: number }, over: Partial<LoopOptions> = {}) {
  const lines: Metrics[] = [];
  const saves: { byte: number | undefined; soFar: TrainingSoFar }[] = [];
  const loop: LoopOptions = {
    before: NOTHING_TRAINED,
    maxSeconds: undefined,
    checkpointEveryS: 10,
    now: () => clock.seconds,
    report: (metrics) => {
      lines.push(metrics);
      return Promise.resolve();
    },
    save: (bytes, soFar) => {
      saves.push({ byte: bytes[0], soFar });
      return Promise.resolve();
    },
    signal: new AbortController().signal,
    ...over,
  };
  return { loop, lines, saves };
}

describe('runSteps', () => {
  it('reports every second, saves every so many and at the end, and sums up', async () => {
    const { clock, trainer } = fake(100, 0.5);
    const { loop, lines, saves } = options(clock);
    const outcome = await runSteps(trainer, loop);
    expect(lines).toHaveLength(50);
    expect(lines[0]).toEqual({
      step: 2,
      steps: 100,
      loss: 75,
      actionLoss: 1.5,
      reasoningLoss: 3,
      samplesPerS: 8,
      etaS: 49,
      share: 0.02,
    });
    expect(saves.map((save) => save.byte)).toEqual([20, 40, 60, 80, 100]);
    expect(outcome).toMatchObject({ step: 100, seconds: 50, samples: 400 });
    const mean = (from: number): number =>
      Array.from({ length: 20 }, (_, i) => 100 / (from + i)).reduce((a, b) => a + b) / 20;
    expect(outcome.firstLoss).toBeCloseTo(mean(1), 10);
    expect(outcome.lastLoss).toBeCloseTo(mean(81), 10);
    expect(saves[4]?.soFar).toEqual(outcome);
  });

  it('goes on from an earlier attempt, in figures as in steps', async () => {
    const before = { step: 60, seconds: 300, samples: 240, firstLoss: 42, lastLoss: 2 };
    const { clock, trainer } = fake(62, 1, 60);
    const { loop } = options(clock, { before });
    expect(await runSteps(trainer, loop)).toMatchObject({
      step: 62,
      seconds: 302,
      samples: 248,
      firstLoss: 42,
    });
    const over = fake(62, 1, 62);
    const nothing = options(over.clock, { before });
    expect(await runSteps(over.trainer, nothing.loop)).toBe(before);
    expect(nothing.saves).toEqual([]);
  });

  it('tells each step what share of the allowed time is used, over all attempts', async () => {
    const before = { step: 6, seconds: 6, samples: 24, firstLoss: 42, lastLoss: 2 };
    const { clock, trainer } = fake(100, 1, 6);
    const shares: number[] = [];
    const { step } = trainer;
    const watched: Steppable = {
      get totalSteps() {
        return trainer.totalSteps;
      },
      get stepIndex() {
        return trainer.stepIndex;
      },
      step: (elapsed) => {
        shares.push(elapsed);
        return step(elapsed);
      },
      checkpoint: trainer.checkpoint,
    };
    await runSteps(watched, options(clock, { before, maxSeconds: 10 }).loop);
    expect(shares).toEqual([0.6, 0.7, 0.8, 0.9]);
  });

  it('stops after max_seconds of training over all attempts', async () => {
    const before = { step: 6, seconds: 6, samples: 24, firstLoss: 42, lastLoss: 2 };
    const { clock, trainer } = fake(1000, 1, 6);
    const { loop, lines, saves } = options(clock, { before, maxSeconds: 10 });
    expect((await runSteps(trainer, loop)).step).toBe(10);
    expect(lines.at(-1)).toMatchObject({ etaS: 0, share: 1 });
    expect(saves.map((save) => save.byte)).toEqual([10]);
  });

  it('ends within a step of a cancellation and saves nothing', async () => {
    const { clock, trainer } = fake(1000);
    const controller = new AbortController();
    const { loop, saves } = options(clock, {
      signal: controller.signal,
      report: (metrics) => {
        if (metrics.step === 5) controller.abort(new CancelRequested());
        return Promise.resolve();
      },
    });
    await expect(runSteps(trainer, loop)).rejects.toBeInstanceOf(CancelRequested);
    expect(trainer.stepIndex).toBe(5);
    expect(saves).toEqual([]);
  });

  it('saves before it leaves when the process stops', async () => {
    const { clock, trainer } = fake(1000);
    const controller = new AbortController();
    const { loop, saves } = options(clock, {
      signal: controller.signal,
      report: (metrics) => {
        if (metrics.step === 7) controller.abort(new Stopping());
        return Promise.resolve();
      },
    });
    await expect(runSteps(trainer, loop)).rejects.toBeInstanceOf(Stopping);
    expect(saves.map((save) => save.byte)).toEqual([7]);
  });

  it('writes some thousand lines at most', async () => {
    const { clock, trainer } = fake(100_000);
    const { loop, lines } = options(clock, { checkpointEveryS: 1e9 });
    await runSteps(trainer, loop);
    expect(lines.length).toBeLessThan(6_000);
  });

  it('names the learning rate when the loss is no longer finite', async () => {
    const { clock, trainer } = fake(10);
    trainer.step = () =>
      Promise.resolve({ step: 3, loss: NaN, actionLoss: NaN, reasoningLoss: 0, samples: 1 });
    await expect(runSteps(trainer, options(clock).loop)).rejects.toMatchObject({
      code: 'invalid_request',
      field: 'options.learning_rate',
    });
  });
});
