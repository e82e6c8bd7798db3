import type { Command } from 'commander';
import {
  metricNameSchema,
  type FinetuneOptions,
  type MetricName,
  type MetricPoint,
} from '../../contract/index.ts';
import { clientOf, type Context, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { choice, decimal, given, integer, paged, type PageOptions } from '../options.ts';
import { bytes, show, table } from '../output.ts';
import { describeEstimate, describeFinetune } from './describe-finetune.ts';
import { ON_INTERRUPT, watch, type OnInterrupt } from './watch.ts';

interface CreateFlags {
  readonly dataset: string;
  readonly add?: readonly string[];
  readonly heldout?: string;
  readonly name: string;
  readonly mode?: FinetuneOptions['mode'];
  readonly steps?: number;
  readonly maxSeconds?: number;
  readonly batchSize?: number;
  readonly accumulate?: number;
  readonly learningRate?: number;
  readonly prefixDelayMax?: number;
  readonly seed?: number;
  readonly reference?: NonNullable<FinetuneOptions['reference']>;
  readonly images?: FinetuneOptions['images'];
  readonly randomCrop?: number;
  readonly colourJitter?: number;
  readonly velocity?: NonNullable<FinetuneOptions['velocity']>;
  readonly frozenWeights?: NonNullable<FinetuneOptions['frozen_weights']>;
  readonly labels?: FinetuneOptions['labels'];
  readonly maxEpisodes?: number;
  readonly from?: string;
  readonly estimate?: true;
  readonly draft?: true;
  readonly watch?: true;
  readonly onInterrupt?: OnInterrupt;
}

const interrupt = () =>
  choice(
    '--on-interrupt <what>',
    'what Ctrl-C does to the job; a terminal is asked unless this is given, elsewhere create cancels and watch leaves',
    ON_INTERRUPT,
  );

/** `finetune`. */
export function addFinetunes(program: Command, run: Runner): void {
  const finetune = program
    .command('finetune')
    .alias('finetunes')
    .description('fine-tuning jobs: demonstrations to a policy');
  finetune
    .command('create')
    .description('start a fine-tuning job')
    .requiredOption('--dataset <id>', 'the data set to train on')
    .requiredOption('--name <name>', 'name of the job and of the policy version it gives')
    .option('--add <id...>', 'more data sets of the same embodiment to train on together with it')
    .option('--heldout <id>', 'data set to evaluate on')
    .addOption(
      choice('--mode <mode>', 'which parameters train', ['head', 'policy', 'lora', 'full']),
    )
    .option('--steps <n>', 'optimiser steps', integer(0))
    .option('--max-seconds <s>', 'train no longer than this', decimal(1))
    .option('--batch-size <n>', 'samples a step', integer(1))
    .option(
      '--accumulate <n>',
      'equal shares in which a batch is taken, to need the memory of one (divides --batch-size)',
      integer(1),
    )
    .option('--learning-rate <rate>', 'peak learning rate', decimal(0))
    .option(
      '--prefix-delay-max <n>',
      'train for chunks that go on from up to so many actions of the one before (0: not)',
      integer(0),
    )
    .option('--seed <n>', 'seed of everything random', integer(0))
    .addOption(
      choice('--reference <reference>', "overrides the embodiment's references", [
        'absolute',
        'state',
        'last_command',
      ]),
    )
    .addOption(choice('--images <how>', 'blank: train without pictures', ['use', 'blank']))
    .option('--random-crop <share>', 'crop training pictures by up to this share', decimal(0))
    .option('--colour-jitter <strength>', 'change their saturation and hue so far', decimal(0))
    .addOption(
      choice('--velocity <how>', 'whether the policy reads how fast joints move', [
        'use',
        'ignore',
      ]),
    )
    .addOption(
      choice('--frozen-weights <form>', 'what frozen layers are computed in (modes head, policy)', [
        'float32',
        'int8',
        'int4',
      ]),
    )
    .addOption(
      choice('--labels <source>', 'reasoning labels where the set has none', [
        'joints',
        'vision_endpoint',
        'none',
      ]),
    )
    .option('--max-episodes <n>', 'use only the first n episodes', integer(1))
    .option('--from <version>', 'policy version whose weights training goes on from')
    .option('--estimate', 'only say what it would take and cost')
    .option('--draft', 'make the job without starting it')
    .option('--watch', 'stay and show the progress')
    .addOption(interrupt())
    .action((flags: CreateFlags) =>
      run(async (context) => {
        const client = await clientOf(context);
        const input = {
          dataset_id: flags.dataset,
          ...given({ added_dataset_ids: flags.add?.slice(), heldout_dataset_id: flags.heldout }),
          options: optionsOf(flags),
        };
        if (flags.estimate === true) {
          const estimate = await client.finetunes.estimate(input, context);
          show(context.output, estimate, () => describeEstimate(estimate));
          return;
        }
        const start = flags.draft !== true;
        const job = await client.finetunes.create({ name: flags.name, ...input, start }, context);
        if (flags.watch === true && start) {
          await watch(context, client, job.id, onInterrupt(context, flags.onInterrupt, 'cancel'));
        } else show(context.output, job, () => describeFinetune(job));
      }),
    );
  finetune
    .command('watch')
    .description('follow a job until it ends')
    .argument('<id>', 'id of the job')
    .addOption(interrupt())
    .action((id: string, flags: { onInterrupt?: OnInterrupt }) =>
      run(async (context) =>
        watch(
          context,
          await clientOf(context),
          id,
          onInterrupt(context, flags.onInterrupt, 'leave'),
        ),
      ),
    );
  paged(finetune.command('list').description('list the jobs')).action((options: PageOptions) =>
    run(async (context) =>
      showList(context, (await clientOf(context)).finetunes, options, (items) =>
        table(
          ['ID', 'NAME', 'STATUS', 'DONE', 'MODE', 'LOSS', 'POLICY', 'CREATED'],
          items.map((job) => [
            job.id,
            job.name,
            job.status,
            `${Math.floor(job.progress * 100)} %`,
            job.options.mode,
            job.train?.last_loss.toFixed(4) ?? null,
            job.policy_version_id,
            job.created_at,
          ]),
        ),
      ),
    ),
  );
  finetune
    .command('get')
    .description('show one job with its evaluation')
    .argument('<id>', 'id of the job')
    .action((id: string) =>
      run(async (context) => {
        const job = await (await clientOf(context)).finetunes.get({ id }, context);
        show(context.output, job, () => describeFinetune(job));
      }),
    );
  finetune
    .command('events')
    .description("show a job's history")
    .argument('<id>', 'id of the job')
    .option('--after <seq>', 'events after this one', integer(0))
    .action((id: string, flags: { after?: number }) =>
      run(async (context) => {
        const client = await clientOf(context);
        const { items } = await client.finetunes.events(
          { id, ...given({ after: flags.after }) },
          context,
        );
        show(context.output, { items }, () =>
          table(
            ['SEQ', 'AT', 'KIND', 'MESSAGE'],
            items.map((event) => [event.seq, event.at, event.kind, event.message]),
          ),
        );
      }),
    );
  finetune
    .command('metrics')
    .description("show one figure of a job's training over its steps")
    .argument('<id>', 'id of the job')
    .addOption(choice('--name <name>', 'the figure; loss unless given', metricNameSchema.options))
    .option('--every <steps>', 'one point for so many steps', integer(1))
    .action((id: string, { name, every }: { name?: MetricName; every?: number }) =>
      run(async (context) => {
        const client = await clientOf(context);
        const items: MetricPoint[] = [];
        for (let after: number | null = 0; after !== null;) {
          const input = { id, after, ...given({ name, every }) };
          const page = await client.finetunes.metrics(input, context);
          items.push(...page.items);
          after = page.next_after;
        }
        show(context.output, { items }, () =>
          table(
            ['STEP', 'AT', 'MEAN', 'MIN', 'MAX'],
            items.map(({ step, at, value, min, max }) => [
              step,
              at,
              ...[value, min, max].map((figure) => figure.toPrecision(5)),
            ]),
          ),
        );
      }),
    );
  finetune
    .command('checkpoints')
    .description('list the checkpoints that a job can go on from')
    .argument('<id>', 'id of the job')
    .action((id: string) =>
      run(async (context) => {
        const { items } = await (await clientOf(context)).finetunes.checkpoints({ id }, context);
        show(context.output, { items }, () =>
          table(
            ['STEP', 'SIZE', 'SHA256', 'AT'],
            items.map((one) => [
              one.step,
              one.bytes === null ? null : bytes(one.bytes),
              one.sha256,
              one.at,
            ]),
          ),
        );
      }),
    );
  const changes = [
    ['start', 'start a draft'],
    ['cancel', 'cancel a job'],
    ['pause', 'set a job aside; it keeps what it has trained'],
    ['resume', 'let a paused job go on'],
    ['retry', 'let a failed job try again, from its last checkpoint where it has one'],
  ] as const;
  for (const [verb, description] of changes) {
    finetune
      .command(verb)
      .description(description)
      .argument('<id>', 'id of the job')
      .action((id: string) =>
        run(async (context) => {
          const { finetunes } = await clientOf(context);
          const job = await finetunes[verb]({ id }, context);
          show(context.output, job, () => `${job.id} is ${job.status}`);
        }),
      );
  }
}

function onInterrupt(
  { output }: Context,
  chosen: OnInterrupt | undefined,
  otherwise: OnInterrupt,
): OnInterrupt {
  return chosen ?? (output.interactive ? 'ask' : otherwise);
}

function optionsOf(flags: CreateFlags) {
  return given({
    mode: flags.mode,
    steps: flags.steps,
    max_seconds: flags.maxSeconds,
    batch_size: flags.batchSize,
    accumulate: flags.accumulate,
    learning_rate: flags.learningRate,
    prefix_delay_max: flags.prefixDelayMax,
    seed: flags.seed,
    reference: flags.reference,
    images: flags.images,
    random_crop: flags.randomCrop,
    colour_jitter: flags.colourJitter,
    velocity: flags.velocity,
    frozen_weights: flags.frozenWeights,
    labels: flags.labels,
    max_episodes: flags.maxEpisodes,
    base_policy_version_id: flags.from,
  });
}
