import { ArmatureError } from '@armature/sdk/contract';
import type { ClaimedJob } from '@armature/db';
import type { Logger } from 'pino';
import { openDemonstrations, type Demonstrations } from '../data/demonstrations.ts';
import { type Checkpoints, soFarOf, type Resumed } from './checkpoints.ts';
import { evaluateVersion } from './evaluate-version.ts';
import type { FinetuneInput } from './input.ts';
import type { Lease } from './lease.ts';
import type { Ledger, TrainSummary } from './ledger.ts';
import { metricsEvent } from './metrics-event.ts';
import type { TrainingSoFar } from './meter.ts';
import { putVersion } from './package.ts';
import { ProgressLines } from './progress.ts';
import { CancelRequested } from './reasons.ts';
import type { JobServices } from './services.ts';
import { runSteps } from './training-loop.ts';
import type { TrainedVersion, Trainer, Workshop } from './workshop.ts';

/** Shares of the whole job at which its parts begin. */
const BEGINS = { decoding: 0, features: 0.2, steps: 0.25, evaluating: 0.8, packaging: 0.97 };

/** One running attempt of a fine-tune. */
export interface Attempt {
  readonly job: ClaimedJob;
  readonly input: FinetuneInput;
  readonly services: JobServices;
  readonly ledger: Ledger;
  readonly lease: Lease;
  readonly checkpoints: Checkpoints;
  readonly log: Logger;
  /** Told before a version's objects are put, so that they can be taken away again. */
  readonly onPlacing: (digest: string) => void;
}

/**
 * Data to version: opens the sets, trains, evaluates, stores and registers. Every resource is closed
 * when it returns or throws.
 */
export async function runPipeline(attempt: Attempt): Promise<void> {
  const { input, ledger, lease, services, log } = attempt;
  const lines = new ProgressLines({
    write: (event, progress) => ledger.note(event, progress),
    now: () => services.nowMs() / 1000,
    onFailed: (error) => {
      if (error instanceof CancelRequested) lease.abort(error);
      else log.warn({ err: error }, 'a progress line was not written');
    },
  });
  await ledger.enter('preparing', BEGINS.decoding, 'preparing: reading and decoding the data');
  const workshop = await services.openWorkshop();
  let training: Demonstrations | null = null;
  let heldout: Demonstrations | null = null;
  try {
    training = await open(attempt, workshop, 'dataset_id', lines);
    if (input.heldout !== null && input.options.steps !== 0) {
      heldout = await open(attempt, workshop, 'heldout_dataset_id', lines);
    }
    const trained = await train(attempt, workshop, training, lines);
    const evaluation =
      heldout === null
        ? null
        : await evaluateVersion({
            input,
            workshop,
            version: trained.version,
            training: training.episodes,
            heldout: heldout.episodes,
            onProgress: (share) => {
              lines.report(within('evaluating', 'packaging', share), `evaluated ${percent(share)}`);
            },
            signal: lease.signal,
          });
    await lines.idle();
    await ledger.enter('packaging', BEGINS.packaging, 'packaging: storing the policy version');
    attempt.onPlacing(trained.version.digest);
    const version = await putVersion(services.store, input.tenantId, trained.version);
    lease.assertHeld();
    const id = await ledger.succeed(input, version, trained.summary, evaluation);
    log.info({ version: id, digest: version.digest }, 'policy version registered');
  } finally {
    await lines.idle();
    training?.close();
    heldout?.close();
    await workshop.close();
  }
}

async function open(
  attempt: Attempt,
  workshop: Workshop,
  field: 'dataset_id' | 'heldout_dataset_id',
  lines: ProgressLines,
): Promise<Demonstrations> {
  const { input, services, lease } = attempt;
  const isTraining = field === 'dataset_id';
  const dataset = isTraining ? input.dataset : input.heldout;
  if (dataset === null) throw new Error(`the fine-tune has no ${field}`);
  // Evaluation needs no labels: the policy reasons for itself.
  const how = isTraining ? input.options.labels : 'none';
  const opened = await openDemonstrations({
    store: services.store,
    dataset,
    field,
    spec: input.spec,
    maxEpisodes: isTraining ? input.options.max_episodes : undefined,
    images: input.options.images,
    cacheDir: services.cacheDir,
    size: workshop.imageSize(input.spec),
    preprocessModule: workshop.preprocessModule,
    preprocessHash: workshop.preprocessHash,
    threads: services.threads,
    annotate: (episode, set) => services.annotate(how, episode, set, input, lease.signal),
    onProgress: (share) => {
      lines.report(
        within('decoding', 'features', isTraining ? share * 0.9 : 0.9 + share * 0.1),
        `decoded ${percent(share)} of ${dataset.name}`,
      );
    },
    signal: lease.signal,
  });
  if (isTraining && input.options.steps !== 0 && opened.episodes.length < 2) {
    opened.close();
    throw new ArmatureError(
      'invalid_dataset',
      'training needs at least two episodes, this has one',
      {
        field: input.options.max_episodes === undefined ? field : 'options.max_episodes',
        fix: 'Record more demonstrations: one of them is set aside to choose the sampler.',
      },
    );
  }
  return opened;
}

interface Trained {
  readonly version: TrainedVersion;
  readonly summary: TrainSummary | null;
}

async function train(
  attempt: Attempt,
  workshop: Workshop,
  training: Demonstrations,
  lines: ProgressLines,
): Promise<Trained> {
  const { input, ledger, lease, services } = attempt;
  await lines.idle();
  const frames = training.episodes.reduce((sum, episode) => sum + episode.length, 0);
  await ledger.enter(
    'training',
    BEGINS.features,
    `training on ${training.episodes.length} episodes, ${frames} frames`,
  );
  const resumed = await resume(attempt);
  const trainer = await startTrainer(attempt, workshop, training, lines, resumed);
  try {
    const soFar = await runSteps(trainer, {
      before: soFarOf(resumed),
      maxSeconds: input.options.max_seconds,
      checkpointEveryS: services.checkpointEveryS,
      now: () => services.nowMs() / 1000,
      report: (metrics) =>
        ledger.note(metricsEvent(metrics), within('steps', 'evaluating', metrics.share)),
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

async function startTrainer(
  attempt: Attempt,
  workshop: Workshop,
  training: Demonstrations,
  lines: ProgressLines,
  resumed: Resumed | null,
): Promise<Trainer> {
  const { input, ledger, lease } = attempt;
  const notes: string[] = [];
  const trainer = await workshop.train({
    spec: input.spec,
    episodes: training.episodes,
    options: input.options,
    resume: resumed?.bytes ?? null,
    onProgress: ({ phase, done, total, note }) => {
      if (note !== undefined) notes.push(note);
      const share = total > 0 ? done / total : 1;
      lines.report(
        within('features', 'steps', share),
        phase === 'compile'
          ? 'preparing the training graph'
          : `features of the frozen parts: ${percent(share)}`,
      );
    },
    signal: lease.signal,
  });
  try {
    await lines.idle();
    for (const message of notes) await ledger.note({ kind: 'message', message });
    return trainer;
  } catch (error) {
    await trainer.close();
    throw error;
  }
}

/** The checkpoint to go on from, and an event that says whether there is one. */
async function resume(attempt: Attempt): Promise<Resumed | null> {
  const { checkpoints, job, ledger } = attempt;
  const loaded = await checkpoints.load();
  if (loaded === 'broken') {
    await ledger.note({
      kind: 'warning',
      message: 'the last checkpoint cannot be read: training starts again from the beginning',
    });
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

/** Share of the whole job when `share` of the part between two of its marks is done. */
function within(from: keyof typeof BEGINS, to: keyof typeof BEGINS, share: number): number {
  return BEGINS[from] + (BEGINS[to] - BEGINS[from]) * share;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
