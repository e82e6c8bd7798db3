import type { Command } from 'commander';
import { clientOf, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { choice, given, paged, type PageOptions } from '../options.ts';
import { show, table } from '../output.ts';

interface UsageFlags {
  readonly session?: string;
  readonly from?: string;
  readonly to?: string;
  readonly by?: 'day' | 'session' | 'policy_version';
}

/** `usage`, `reasoning`. */
export function addRecords(program: Command, run: Runner): void {
  program
    .command('usage')
    .description('what was metered')
    .option('--session <id>', 'of one session')
    .option('--from <instant>', 'ISO 8601 in UTC')
    .option('--to <instant>', 'ISO 8601 in UTC')
    .addOption(choice('--by <key>', 'one row for each', ['day', 'session', 'policy_version']))
    .action((flags: UsageFlags) =>
      run(async (context) => {
        const usage = await (
          await clientOf(context)
        ).usage.get(
          given({
            session_id: flags.session,
            from: flags.from,
            to: flags.to,
            group_by: flags.by,
          }),
          context,
        );
        const { totals } = usage;
        show(context.output, usage, () =>
          table(
            [(flags.by ?? 'day').toUpperCase(), 'CHUNKS', 'ACTIONS', 'TOKENS', 'COMPUTE'],
            [...usage.items, { key: 'all', ...totals }].map((row) => [
              row.key,
              row.chunks,
              row.actions,
              row.reasoning_tokens,
              `${(row.compute_ms / 1000).toFixed(1)} s`,
            ]),
          ),
        );
      }),
    );

  const reasoning = program
    .command('reasoning')
    .description('the reasoning that drove a session')
    .requiredOption('--session <id>', 'of which session');
  paged(reasoning).action((flags: PageOptions & { session: string }) =>
    run(async (context) => {
      const client = await clientOf(context);
      const of = { session_id: flags.session };
      const verbs = {
        list: (input: object) => client.reasoning.list({ ...of, ...input }, context),
        listAll: (input: object) => client.reasoning.listAll({ ...of, ...input }, context),
      };
      await showList(context, verbs, flags, (items) =>
        table(
          ['AT', 'CHUNKS', 'TOKENS', 'SOURCE', 'TEXT'],
          items.map((record) => [
            record.created_at,
            record.chunks,
            record.tokens,
            record.source,
            record.text,
          ]),
        ),
      );
    }),
  );
}
