import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { exportUsage, usageFormats, type UsageFormat } from '../../src/index.ts';
import { clientOf, type Runner } from '../context.ts';
import { choice, given } from '../options.ts';
import { duration, fields, note, show, table } from '../output.ts';

const KEYS = ['hour', 'day', 'session', 'robot', 'policy_version'] as const;

interface Period {
  readonly from?: string;
  readonly to?: string;
}

interface UsageFlags extends Period {
  readonly session?: string;
  readonly robot?: string;
  readonly by?: (typeof KEYS)[number];
}

interface ExportFlags extends Period {
  readonly out: string;
  readonly format?: UsageFormat;
}

const period = (command: Command): Command =>
  command
    .option('--from <instant>', 'ISO 8601 in UTC; 30 days ago unless given')
    .option('--to <instant>', 'ISO 8601 in UTC; now unless given');

/** `usage`, `prices`. */
export function addUsage(program: Command, run: Runner): void {
  const usage = period(program.command('usage').description('what was used, and what it costs'))
    .option('--session <id>', 'of one session')
    .option('--robot <name>', 'of one robot')
    .addOption(choice('--by <key>', "one row for each; days are the tenant's own", KEYS))
    .action((flags: UsageFlags) =>
      run(async (context) => {
        const client = await clientOf(context);
        const { session, robot, from, to, by } = flags;
        const answer = await client.usage.get(
          given({ session_id: session, robot, from, to, group_by: by }),
          context,
        );
        const cost = `COST ${answer.currency}`;
        show(context.output, answer, () =>
          table(
            [
              (by ?? 'day').toUpperCase(),
              'CHUNKS',
              'ACTIONS',
              'TOKENS',
              'COMPUTE',
              'TRAINING',
              cost,
            ],
            [...answer.items, { key: 'all', ...answer.totals }].map((row) => [
              row.key,
              row.chunks,
              row.actions,
              row.reasoning_tokens,
              `${(row.compute_ms / 1000).toFixed(1)} s`,
              duration(row.training_ms / 1000),
              row.cost,
            ]),
          ),
        );
        note(context.output, `final up to ${answer.closed_until}; days of ${answer.time_zone}`);
      }),
    );
  period(usage.command('export').description('closed windows of a quarter of an hour, as a file'))
    .requiredOption('--out <file>', 'where to write it')
    .addOption(choice('--format <format>', 'csv unless given', usageFormats))
    .action((_own: object, command: Command) =>
      run(async (context) => {
        // `usage` has a period too and takes the options wherever they stand.
        const flags = command.optsWithGlobals<ExportFlags>();
        const client = await clientOf(context);
        const format = flags.format ?? 'csv';
        const bytes = await exportUsage(
          client,
          format,
          given({ from: flags.from, to: flags.to }),
          context,
        );
        await writeFile(flags.out, bytes);
        const made = { file: flags.out, format, bytes: bytes.length };
        show(context.output, made, () => `${made.file}: ${made.bytes} bytes of ${format}`);
      }),
    );

  program
    .command('prices')
    .description('price sheets, and from when each holds')
    .action(() =>
      run(async (context) => {
        const { items } = await (await clientOf(context)).prices.list({}, context);
        show(context.output, { items }, () =>
          items
            .map(({ version, currency, valid_from: from, prices }) =>
              fields([
                ['version', version],
                ['from', from],
                ...Object.entries(prices).map(
                  ([unit, price]) => [`a ${unit}`, `${price} ${currency}`] as const,
                ),
              ]),
            )
            .join('\n\n'),
        );
      }),
    );
}
