import { ArmatureError } from '@armature/sdk/contract';
import { openDemonstrations, type Demonstrations } from '../data/demonstrations.ts';
import { openLabeller } from '../data/labels.ts';
import { BEGINS, percent, within, type Attempt } from './attempt.ts';
import { evaluateVersion } from './evaluate-version.ts';
import { derivedPrefix } from './keys.ts';
import { putVersion } from './package.ts';
import { ProgressLines } from './progress.ts';
import { CancelRequested } from '../../jobs/reasons.ts';
import { trainVersion } from './train-version.ts';
import type { Workshop } from './workshop.ts';

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
    const trained = await trainVersion(attempt, workshop, training, lines);
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
  const labeller = await openLabeller({
    // Evaluation needs no labels: the policy reasons for itself.
    how: isTraining ? input.options.labels : 'none',
    vision: services.vision,
    store: services.store,
    derivedPrefix: derivedPrefix(input.tenantId, dataset.id),
    spec: input.spec,
    signal: lease.signal,
  });
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
    labeller,
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
        fix: 'Record more demonstrations: fifty are a good start.',
      },
    );
  }
  return opened;
}
