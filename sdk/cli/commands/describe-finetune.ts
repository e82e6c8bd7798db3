import type { Evaluation, Finetune, FinetuneEstimate } from '../../contract/index.ts';
import { duration, fields, table } from '../output.ts';

/** A job for people: how it stands, what training did, what the evaluation says. */
export function describeFinetune(job: Finetune): string {
  const { train, error } = job;
  const head = fields([
    ['id', job.id],
    ['name', job.name],
    ['status', `${job.status}, ${Math.floor(job.progress * 100)} %`],
    ['data set', [job.dataset_id, ...job.added_dataset_ids].join(', ')],
    ['held out', job.heldout_dataset_id],
    ['mode', job.options.mode],
    [
      'estimate',
      job.estimate === null
        ? null
        : `${duration(job.estimate.seconds)}, ${job.estimate.cost} ${job.estimate.currency}`,
    ],
    ['checkpoint', job.checkpoint === null ? null : `step ${job.checkpoint.step}`],
    ['expected end', job.eta_at],
    [
      'training',
      train === null
        ? null
        : `${train.steps} steps in ${duration(train.seconds)}, ${train.samples_per_s.toFixed(0)} samples/s, loss ${train.first_loss.toFixed(4)} → ${train.last_loss.toFixed(4)}`,
    ],
    ['policy', job.policy_version_id],
    ['created', job.created_at],
    ['finished', job.finished_at],
    ...(error === null
      ? []
      : ([
          ['error', `${error.code}: ${error.message}`],
          ['fix', error.fix ?? null],
        ] as const)),
  ]);
  return job.evaluation === null ? head : `${head}\n\n${describeEvaluation(job.evaluation)}`;
}

/** What a job is expected to take and cost, for people. */
export function describeEstimate(estimate: FinetuneEstimate): string {
  return fields([
    ['steps', estimate.steps],
    ['time', `about ${duration(estimate.seconds)}`],
    ['cost', `about ${estimate.cost} ${estimate.currency}, price sheet ${estimate.price_sheet}`],
    [
      'basis',
      estimate.basis === 'measured' ? 'your own jobs of this mode' : 'the platform’s reference',
    ],
  ]);
}

function describeEvaluation(evaluation: Evaluation): string {
  const rows = [
    ['as served', evaluation.served],
    ['mean of eight samples', evaluation.mean8],
    ['one sample', evaluation.sample],
    ['pictures blanked', evaluation.blank8],
    ['state held', evaluation.hold],
    ['last command held', evaluation.hold_command],
    ['mean action', evaluation.mean],
    ['ridge regression', evaluation.ridge],
  ] as const;
  const errors = table(
    ['HELD OUT', 'MSE', 'L1'],
    rows.map(([name, { mse, l1 }]) => [name, mse.toFixed(4), l1.toFixed(4)]),
  );
  const { chunks, episodes, reference, ci95 } = evaluation;
  const [low, high] = ci95.served_mse;
  const note = `${chunks} chunks of ${episodes.length} episodes, actions relative to ${reference}; as served, 95 %: ${low.toFixed(4)} to ${high.toFixed(4)}`;
  return `${errors}\n${note}`;
}
