import type { Command } from 'commander';
import { clientOf, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { paged, type PageOptions } from '../options.ts';
import { table } from '../output.ts';

/** `reasoning`. */
export function addRecords(program: Command, run: Runner): void {
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
