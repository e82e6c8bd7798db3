import {
  ArmatureError,
  type DataVersion,
  type Evaluation,
  type FinetuneOptions,
  type HeldoutScore,
  type Provenance,
} from '@armature/sdk/contract';
import { openDemonstrations, type Demonstrations } from '../data/demonstrations.ts';
import { openLabeller } from '../data/labels.ts';
import { BEGINS, percent, within, type Attempt } from './attempt.ts';
import { evaluateVersion } from './evaluate-version.ts';
import type { JobDataset } from './input.ts';
import { derivedPrefix, policyPrefix } from './keys.ts';
import { putVersion } from './package.ts';
import { ProgressLines } from './progress.ts';
import { CancelRequested } from '../../jobs/reasons.ts';
import { trainVersion } from './train-version.ts';
import type { Demonstration, Workshop } from './workshop.ts';

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
  await ledger.enter('running', BEGINS.decoding, 'running: reading and decoding the data');
  const workshop = await services.openWorkshop();
  let training: TrainingSets | null = null;
  let heldout: OpenedSet | null = null;
  try {
    training = await openTraining(attempt, workshop, lines);
    if (input.heldout !== null && input.options.steps !== 0) {
      heldout = await open(attempt, workshop, lines, {
        dataset: input.heldout,
        // Evaluation needs no labels: the policy reasons for itself.
        how: 'none',
        left: Infinity,
        share: (done) => 0.9 + done * 0.1,
      });
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
    const provenance: Provenance = {
      data: training.sets.map(({ used }) => used),
      code: services.code,
      heldout: heldout === null || evaluation === null ? null : heldoutScore(heldout, evaluation),
    };
    const sealed = workshop.sealed(trained.version, provenance);
    const prefix = policyPrefix(input.tenantId, input.id, sealed.digest);
    attempt.onPlacing(prefix);
    const version = await putVersion(services.store, prefix, sealed);
    lease.assertHeld();
    const made = {
      ...version,
      data: training.sets.map(({ dataset, used }) => ({ dataset_id: dataset.id, ...used })),
      code: provenance.code,
      heldout: provenance.heldout,
    };
    const id = await ledger.succeed(input, made, trained.summary, evaluation);
    log.info({ version: id, digest: version.digest }, 'policy version registered');
  } finally {
    await lines.idle();
    training?.close();
    heldout?.close();
    await workshop.close();
  }
}

/** A data set that is open, and what of it is used. */
interface OpenedSet extends Demonstrations {
  readonly dataset: JobDataset;
  readonly used: DataVersion;
}

interface TrainingSets extends Demonstrations {
  readonly sets: readonly OpenedSet[];
}

function heldoutScore({ used }: OpenedSet, evaluation: Evaluation): HeldoutScore {
  const { chunks, served, mean8, hold } = evaluation;
  return {
    data: used,
    chunks,
    served: { mse: served.mse, l1: served.l1 },
    mean8,
    hold,
  };
}

/** The sets that are trained on, one after another, as if they were one. */
async function openTraining(
  attempt: Attempt,
  workshop: Workshop,
  lines: ProgressLines,
): Promise<TrainingSets> {
  const { datasets, options } = attempt.input;
  const opened: OpenedSet[] = [];
  const close = (): void => {
    for (const one of opened) one.close();
  };
  try {
    let left = options.max_episodes ?? Infinity;
    for (const [i, dataset] of datasets.entries()) {
      if (left === 0) break;
      const share = (done: number): number => ((i + done) / datasets.length) * 0.9;
      const set = await open(attempt, workshop, lines, {
        dataset,
        how: options.labels,
        left,
        share,
      });
      opened.push(set);
      left -= set.episodes.length;
    }
    const episodes = numbered(opened.flatMap((set) => set.episodes));
    if (options.steps !== 0 && episodes.length < 2) {
      throw new ArmatureError(
        'invalid_dataset',
        'training needs at least two episodes, this has one',
        {
          field: options.max_episodes === undefined ? 'dataset_id' : 'options.max_episodes',
          fix: 'Record more demonstrations: fifty are a good start.',
        },
      );
    }
    return { episodes, sets: opened, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Episodes of several sets under numbers that none shares with another. */
function numbered(episodes: readonly Demonstration[]): readonly Demonstration[] {
  const distinct = new Set(episodes.map(({ index }) => index)).size === episodes.length;
  return distinct ? episodes : episodes.map((episode, index) => ({ ...episode, index }));
}

async function open(
  attempt: Attempt,
  workshop: Workshop,
  lines: ProgressLines,
  o: {
    readonly dataset: JobDataset;
    readonly how: FinetuneOptions['labels'];
    /** Episodes that are wanted of it at most. */
    readonly left: number;
    /** Share of all decoding that is done with a share of this set's. */
    readonly share: (done: number) => number;
  },
): Promise<OpenedSet> {
  const { input, services, lease } = attempt;
  const { dataset } = o;
  const labeller = await openLabeller({
    how: o.how,
    vision: services.vision,
    store: services.store,
    derivedPrefix: derivedPrefix(input.tenantId, dataset.id),
    spec: input.spec,
    signal: lease.signal,
  });
  const opened = await openDemonstrations({
    store: services.store,
    dataset,
    field: dataset.field,
    spec: input.spec,
    maxEpisodes: Number.isFinite(o.left) ? o.left : undefined,
    images: input.options.images,
    cacheDir: services.cacheDir,
    size: workshop.imageSize(input.spec),
    preprocessModule: workshop.preprocessModule,
    preprocessHash: workshop.preprocessHash,
    threads: services.threads,
    labeller,
    onProgress: (done) => {
      lines.report(
        within('decoding', 'features', o.share(done)),
        `decoded ${percent(done)} of ${dataset.name}`,
      );
    },
    signal: lease.signal,
  });
  const { episodes } = opened;
  const frames = episodes.reduce((sum, { length }) => sum + length, 0);
  return {
    ...opened,
    dataset,
    used: { digest: dataset.digest, episodes: episodes.length, frames },
  };
}
