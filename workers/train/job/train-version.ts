import type { NewJobEvent } from '@armature/db';
import type { Demonstrations } from '../data/demonstrations.ts';
import { BEGINS, percent, within, type Attempt } from './attempt.ts';
import { soFarOf, type Resumed } from './checkpoints.ts';
import { FeatureMeter, featuresEvent } from './feature-saving.ts';
import type { FinetuneInput } from './input.ts';
import type { TrainSummary } from './ledger.ts';
import { metricsEvent } from './metrics-event.ts';
import type { Metrics, TrainingSoFar } from './meter.ts';
import type { ProgressLines } from './progress.ts';
import { getVersion } from './package.ts';
import { quantisedEvent } from './quantised-event.ts';
import { runSteps } from './training-loop.ts';
import {
  ResumeRefused,
  type TrainedVersion,
  type Trainer,
  type TrainerProgress,
  type Workshop,
} from './workshop.ts';

const FROM_THE_BEGINNING: NewJobEvent = {
  kind: 'warning',
  message: 'the last checkpoint cannot be used: training starts again from the beginning',
};

export interface Trained {
  readonly version: TrainedVersion;
  readonly summary: TrainSummary | null;
}

/**
 * Trains to a version that is not stored yet: resumes where an earlier attempt got to, runs the steps,
 * has the sampler chosen.
 */
export async function trainVersion(
  attempt: Attempt,
  workshop: Workshop,
  training: Demonstrations,
  lines: ProgressLines,
): Promise<Trained> {
  const { input, ledger, lease, services } = attempt;
  await lines.idle();
  const frames = training.episodes.reduce((sum, episode) => sum + episode.length, 0);
  await ledger.enter(
    'running',
    BEGINS.features,
    `running: training on ${training.episodes.length} episodes, ${frames} frames`,
  );
  const { trainer, resumed } = await startTrainer(attempt, workshop, training, lines);
  try {
    const soFar = await runSteps(trainer, {
      before: soFarOf(resumed),
      maxSeconds: input.options.max_seconds,
      checkpointEveryS: services.checkpointEveryS,
      now: () => services.nowMs() / 1000,
      report: (metrics) =>
        ledger.note(
          metricsEvent(metrics),
          within('steps', 'evaluating', metrics.share),
          endOf(metrics),
        ),
      save: async (bytes, state) => {
        await attempt.checkpoints.save(bytes, state);
      },
      signal: lease.signal,
    });
    await ledger.enter('evaluating', BEGINS.evaluating, 'evaluating: choosing the sampler');
    const version = await trainer.finish();
    lease.assertHeld();
    const { steps, noise_scale: noise } = version.manifest.sampler;
    await ledger.note({
      kind: 'message',
      message: `sampler: ${steps} steps from noise of scale ${noise}`,
      data: { steps, noise_scale: noise },
    });
    return { version, summary: summaryOf(input, soFar) };
  } finally {
    await trainer.close();
  }
}

/** Starts training from the checkpoint, or from the beginning where it does not fit any more. */
async function startTrainer(
  attempt: Attempt,
  workshop: Workshop,
  training: Demonstrations,
  lines: ProgressLines,
): Promise<{ trainer: Trainer; resumed: Resumed | null }> {
  const resumed = await resume(attempt);
  try {
    return { trainer: await prepare(attempt, workshop, training, lines, resumed), resumed };
  } catch (error) {
    if (!(error instanceof ResumeRefused)) throw error;
    attempt.log.warn({ err: error }, 'the checkpoint does not fit');
    await attempt.ledger.note(FROM_THE_BEGINNING);
    return { trainer: await prepare(attempt, workshop, training, lines, null), resumed: null };
  }
}

async function prepare(
  attempt: Attempt,
  workshop: Workshop,
  training: Demonstrations,
  lines: ProgressLines,
  resumed: Resumed | null,
): Promise<Trainer> {
  const { input, ledger, lease, services } = attempt;
  const features = new FeatureMeter(() => services.nowMs() / 1000);
  const told: NewJobEvent[] = [];
  const from = input.from === null ? null : await getVersion(services.store, input.from);
  const trainer = await workshop.train({
    spec: input.spec,
    episodes: training.episodes,
    options: input.options,
    from,
    resume: resumed?.bytes ?? null,
    onProgress: (progress) => {
      const { phase, done, total } = progress;
      if (progress.phase === 'features') features.see(progress);
      if (progress.phase === 'quantised') told.push(quantisedEvent(progress));
      lines.report(...progressOf(phase, total > 0 ? done / total : 1));
    },
    signal: lease.signal,
  });
  try {
    await lines.idle();
    const { saving } = features;
    if (saving !== undefined) await ledger.note(featuresEvent(saving));
    for (const event of told) await ledger.note(event);
    return trainer;
  } catch (error) {
    await trainer.close();
    throw error;
  }
}

function progressOf(phase: TrainerProgress['phase'], share: number): [number, string] {
  switch (phase) {
    case 'features':
      return [
        within('features', 'steps', share),
        `features of the frozen parts: ${percent(share)}`,
      ];
    case 'quantised':
      return [BEGINS.steps, 'features of quantised layers compared'];
    case 'compile':
      return [BEGINS.steps, 'preparing the training graph'];
    case 'sampler':
      return [BEGINS.evaluating, `choosing the sampler: ${percent(share)}`];
  }
}

/** The checkpoint to go on from, and an event that says whether there is one. */
async function resume(attempt: Attempt): Promise<Resumed | null> {
  const { checkpoints, job, ledger } = attempt;
  const loaded = await checkpoints.load();
  if (loaded === 'broken') {
    await ledger.note(FROM_THE_BEGINNING);
    return null;
  }
  if (loaded !== null) {
    await ledger.note({
      kind: 'message',
      message: `attempt ${job.attempt} goes on from the checkpoint at step ${loaded.soFar.step}`,
      data: { attempt: job.attempt, step: loaded.soFar.step },
    });
  } else if (job.attempt > 1) {
    await ledger.note({
      kind: 'message',
      message: `attempt ${job.attempt} starts from the beginning: there was no checkpoint yet`,
      data: { attempt: job.attempt, step: 0 },
    });
  }
  return loaded;
}

/** Seconds until the whole job ends, if what follows the steps takes its share of it. */
function endOf({ etaS, share }: Metrics): number {
  const steps = share < 1 ? etaS / (1 - share) : 0;
  return etaS + (steps * (1 - BEGINS.evaluating)) / (BEGINS.evaluating - BEGINS.steps);
}

function summaryOf(input: FinetuneInput, soFar: TrainingSoFar): TrainSummary | null {
  if (soFar.firstLoss === null || soFar.lastLoss === null) return null;
  return {
    mode: input.options.mode,
    steps: soFar.step,
    samples_per_s: soFar.seconds > 0 ? soFar.samples / soFar.seconds : 0,
    seconds: soFar.seconds,
    first_loss: soFar.firstLoss,
    last_loss: soFar.lastLoss,
  };
}
