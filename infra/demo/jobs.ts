import { type Armature, pushDataset, waitForFinetune } from '@armature/sdk';
import {
  ArmatureError,
  type Dataset,
  type DatasetReport,
  type Finetune,
  type FinetuneOptions,
  type JobEvent,
} from '@armature/sdk/contract';
import type { Credentials } from './cli.ts';
import type { LossPoint } from './report/data.ts';
import { bytes, duration, short } from './report/numbers.ts';
import type { Screen } from './screen.ts';

/** What every step of the demo works with. */
export interface Stage {
  readonly client: Armature;
  /** What the command line needs to be the same customer. */
  readonly credentials: Credentials;
  readonly screen: Screen;
  readonly signal: AbortSignal;
}

const POLL_MS = 500;

/** A data set that is ready, with the report of its validation. */
export interface PushedDataset {
  readonly dataset: Dataset;
  readonly report: DatasetReport;
}

/** Uploads a folder and waits until it is validated. @throws ArmatureError as `pushDataset` does. */
export async function push(
  stage: Stage,
  options: { readonly dir: string; readonly name: string; readonly embodimentId: string },
): Promise<PushedDataset> {
  const { client, screen, signal } = stage;
  const started = performance.now();
  const dataset = await screen.task(`push ${options.name}`, async (progress) => {
    const ready = await pushDataset({
      ...options,
      client,
      signal,
      pollMs: POLL_MS,
      onProgress: ({ phase, done, total }) => {
        if (phase === 'validate') progress.update(done, 'validating');
        else progress.update(done / total, `${phase} ${bytes(done)} of ${bytes(total)}`);
      },
    });
    const seconds = (performance.now() - started) / 1000;
    const rate = ready.report?.ingest.frames_per_s ?? 0;
    progress.done(
      `${bytes(ready.bytes)} in ${duration(seconds)}, checked at ${short(rate)} frames/s`,
    );
    return ready;
  });
  const { report } = dataset;
  if (report === null)
    throw new ArmatureError('internal', `${dataset.id} is ready but has no report`);
  for (const { severity, message } of report.findings) screen.line(`${severity}: ${message}`);
  return { dataset, report };
}

/** A fine-tune that has given a policy version, and what it told of its loss. */
export interface TrainedPolicy {
  readonly finetune: Finetune;
  readonly points: readonly LossPoint[];
  readonly policyVersionId: string;
}

/**
 * Starts a fine-tune and waits for its policy version. Given the signal it cancels the job, so that
 * no later start of the platform takes it up again.
 * @throws ArmatureError with the job's own error.
 */
export async function finetune(
  stage: Stage,
  options: {
    readonly name: string;
    readonly datasetId: string;
    readonly heldoutId?: string;
    readonly options: Partial<FinetuneOptions>;
  },
): Promise<TrainedPolicy> {
  const { client, screen, signal } = stage;
  const { id } = await client.finetunes.create(
    {
      name: options.name,
      dataset_id: options.datasetId,
      ...(options.heldoutId === undefined ? {} : { heldout_dataset_id: options.heldoutId }),
      options: options.options,
    },
    { signal },
  );
  const points: LossPoint[] = [];
  let note = '';
  const done = await screen.task(options.name, async (progress) => {
    try {
      const job = await waitForFinetune({
        client,
        id,
        signal,
        pollMs: POLL_MS,
        onEvent: (event) => {
          note = noteOf(event) ?? note;
          const point = lossOf(event);
          if (point !== undefined) points.push(point);
        },
        onUpdate: ({ status, progress: share }) => {
          progress.update(share, note === '' ? status : note);
        },
      });
      progress.done(summaryOf(job));
      return job;
    } catch (error) {
      if (signal.aborted) await client.finetunes.cancel({ id });
      throw error;
    }
  });
  const { policy_version_id: policyVersionId } = done;
  if (policyVersionId === null) throw new ArmatureError('internal', `${id} gave no policy version`);
  return { finetune: done, points, policyVersionId };
}

function noteOf({ kind, message, data }: JobEvent): string | undefined {
  if (kind !== 'metrics') return kind === 'checkpoint' ? undefined : message;
  const { step, steps, loss, samples_per_s: rate, eta_s: eta } = data;
  return [
    step === undefined || steps === undefined ? '' : `step ${step}/${steps}`,
    loss === undefined ? '' : `loss ${short(loss)}`,
    rate === undefined ? '' : `${short(rate)} samples/s`,
    eta === undefined ? '' : `${duration(eta)} left`,
  ]
    .filter((part) => part !== '')
    .join(' · ');
}

function lossOf({ kind, data }: JobEvent): LossPoint | undefined {
  const { step, loss, action_loss: action, reasoning_loss: reasoning } = data;
  if (kind !== 'metrics' || step === undefined || loss === undefined) return undefined;
  return { step, loss, action_loss: action ?? null, reasoning_loss: reasoning ?? null };
}

function summaryOf({ train }: Finetune): string {
  if (train === null || train.steps === 0) return 'a fresh head, untrained';
  const { steps, seconds, samples_per_s: rate, last_loss: loss } = train;
  return `${steps} steps in ${duration(seconds)} · ${short(rate)} samples/s · loss ${short(loss)}`;
}
