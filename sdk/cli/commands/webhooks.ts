import { InvalidArgumentError, type Command } from 'commander';
import {
  ArmatureError,
  webhookEventSchema,
  type Webhook,
  type WebhookDelivery,
} from '../../contract/index.ts';
import { clientOf, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { given, integer, paged, type PageOptions } from '../options.ts';
import { fields, note, show, table } from '../output.ts';

type Event = Webhook['events'][number];

interface Changes {
  readonly url?: string;
  readonly events?: Event[];
  readonly enable?: true;
  readonly disable?: true;
}

/** `webhooks`. */
export function addWebhooks(program: Command, run: Runner): void {
  const webhooks = program
    .command('webhooks')
    .description('addresses that are told of fine-tunes and data sets')
    .addHelpText(
      'after',
      `
Events, comma-separated; finetune.* and dataset.* mean every one of theirs:
${webhookEventSchema.options.map((event) => `  ${event}`).join('\n')}
`,
    );
  webhooks
    .command('create')
    .description('tell an address of events; the secret is shown once')
    .argument('<url>', 'https address of the receiver')
    .requiredOption('--events <events>', 'what it is told, e.g. finetune.*,dataset.ready', events)
    .action((url: string, options: { events: Event[] }) =>
      run(async (context) => {
        const client = await clientOf(context);
        const made = await client.webhooks.create({ url, events: options.events }, context);
        show(context.output, made, () => describeWithSecret(made));
        note(
          context.output,
          'The secret is not shown again; the receiver verifies messages with it.',
        );
      }),
    );
  paged(webhooks.command('list').description('list the webhooks')).action((options: PageOptions) =>
    run(async (context) =>
      showList(context, (await clientOf(context)).webhooks, options, (items) =>
        table(
          ['ID', 'URL', 'EVENTS', 'ENABLED', 'SINCE'],
          items.map((webhook) => [
            webhook.id,
            webhook.url,
            webhook.events.join(','),
            webhook.enabled ? 'yes' : 'no',
            webhook.created_at,
          ]),
        ),
      ),
    ),
  );
  webhooks
    .command('show')
    .description('one webhook')
    .argument('<id>', 'id of the webhook')
    .action((id: string) =>
      run(async (context) => {
        const webhook = await (await clientOf(context)).webhooks.get({ id }, context);
        show(context.output, webhook, () => describeWebhook(webhook));
      }),
    );
  webhooks
    .command('update')
    .description('change where a webhook goes, what it is told, or whether')
    .argument('<id>', 'id of the webhook')
    .option('--url <url>', 'https address of the receiver')
    .option('--events <events>', 'what it is told', events)
    .option('--enable', 'tell it again, after it was stopped or its receiver answered 410')
    .option('--disable', 'tell it nothing for now')
    .action((id: string, changes: Changes) =>
      run(async (context) => {
        const input = { id, ...changesOf(changes) };
        const webhook = await (await clientOf(context)).webhooks.update(input, context);
        show(context.output, webhook, () => describeWebhook(webhook));
      }),
    );
  webhooks
    .command('delete')
    .description('tell it nothing more, and forget what it was told')
    .argument('<id>', 'id of the webhook')
    .action((id: string) =>
      run(async (context) => {
        const webhook = await (await clientOf(context)).webhooks.delete({ id }, context);
        show(context.output, webhook, () => `${webhook.id} is deleted`);
      }),
    );
  webhooks
    .command('rotate-secret')
    .description('a new secret, shown once; the old one signs beside it for a while')
    .argument('<id>', 'id of the webhook')
    .option('--overlap <seconds>', '0 to 2592000; a day unless given', integer(0))
    .action((id: string, { overlap }: { overlap?: number }) =>
      run(async (context) => {
        const input = { id, ...given({ overlap_s: overlap }) };
        const made = await (await clientOf(context)).webhooks.rotate(input, context);
        show(context.output, made, () => describeWithSecret(made));
        note(context.output, 'The secret is not shown again.');
      }),
    );
  webhooks
    .command('test')
    .description('send it a message webhook.test, to see whether it arrives')
    .argument('<id>', 'id of the webhook')
    .action((id: string) =>
      run(async (context) => {
        const delivery = await (await clientOf(context)).webhooks.test({ id }, context);
        show(context.output, delivery, () => describeDelivery(delivery));
        note(context.output, `armature webhooks deliveries ${id} says what was answered.`);
      }),
    );
  paged(
    webhooks
      .command('deliveries')
      .description('what a webhook was told, newest first')
      .argument('<id>', 'id of the webhook'),
  ).action((id: string, options: PageOptions) =>
    run(async (context) => {
      const client = await clientOf(context);
      const verbs = {
        list: (input: object) => client.webhooks.deliveries({ id, ...input }, context),
        listAll: (input: object) => client.webhooks.deliveriesAll({ id, ...input }, context),
      };
      await showList(context, verbs, options, (items) =>
        table(
          ['ID', 'EVENT', 'STATUS', 'ATTEMPTS', 'ANSWER', 'AT'],
          items.map((delivery) => [
            delivery.id,
            delivery.event,
            delivery.status,
            delivery.attempts,
            delivery.answer_status ?? delivery.error,
            delivery.created_at,
          ]),
        ),
      );
    }),
  );
  webhooks
    .command('replay')
    .description('send a message that was delivered or given up once more, under its id')
    .argument('<delivery>', 'id of the message')
    .action((id: string) =>
      run(async (context) => {
        const delivery = await (await clientOf(context)).webhooks.replay({ id }, context);
        show(context.output, delivery, () => describeDelivery(delivery));
      }),
    );
}

function events(text: string): Event[] {
  const all = webhookEventSchema.options;
  const chosen = text.split(',').flatMap((word) => {
    const name = word.trim();
    const found = name.endsWith('.*')
      ? all.filter((event) => event.startsWith(name.slice(0, -1)))
      : all.filter((event) => event === name);
    if (found.length > 0) return found;
    throw new InvalidArgumentError(`There is no event ${name}; see armature webhooks --help.`);
  });
  return [...new Set(chosen)];
}

function changesOf({ url, events: told, enable, disable }: Changes) {
  if (enable === true && disable === true) {
    throw new ArmatureError('invalid_request', 'it cannot be enabled and disabled at once', {
      field: 'enable',
      fix: 'Give one of --enable and --disable.',
    });
  }
  const enabled = enable === true ? true : disable === true ? false : undefined;
  const changes = given({ url, events: told, enabled });
  if (Object.keys(changes).length > 0) return changes;
  throw new ArmatureError('invalid_request', 'there is nothing to change', {
    field: 'url',
    fix: 'Give --url, --events, --enable or --disable.',
  });
}

function describeWebhook(webhook: Webhook): string {
  return fields(fieldsOf(webhook));
}

function describeWithSecret({ webhook, secret }: { webhook: Webhook; secret: string }): string {
  return fields([...fieldsOf(webhook), ['secret', secret]]);
}

function fieldsOf(webhook: Webhook): [string, string][] {
  return [
    ['id', webhook.id],
    ['url', webhook.url],
    ['events', webhook.events.join(', ')],
    ['enabled', webhook.enabled ? 'yes' : 'no'],
    ['since', webhook.created_at],
  ];
}

function describeDelivery(delivery: WebhookDelivery): string {
  return fields([
    ['id', delivery.id],
    ['webhook', delivery.webhook_id],
    ['event', delivery.event],
    ['status', delivery.status],
    ['attempts', delivery.attempts],
  ]);
}
