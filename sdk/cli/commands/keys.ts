import { InvalidArgumentError, type Command } from 'commander';
import {
  keyLimitNameSchema,
  scopeSchema,
  type Key,
  type KeyLimitName,
  type KeyLimits,
  type Scope,
} from '../../contract/index.ts';
import { clientOf, type Context, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { decimal, given, integer, numberOr, oneOf, paged, type PageOptions } from '../options.ts';
import { fields, note, show, table } from '../output.ts';

/** `keys`. */
export function addKeys(program: Command, run: Runner): void {
  const keys = program.command('keys').description('keys of the tenant');
  keys
    .command('create')
    .description('create a key; its secret is shown once')
    .argument('<name>', 'what the key is for')
    .requiredOption(
      '--scopes <scopes>',
      `comma-separated: ${scopeSchema.options.join(', ')}`,
      scopes,
    )
    .option('--expires-at <instant>', 'ISO 8601 in UTC')
    .option(
      '--quota <name=value>',
      `of what it makes, may be given again: ${keyLimitNameSchema.options.join(', ')}`,
      quotas,
    )
    .action((name: string, options: { scopes: Scope[]; expiresAt?: string; quota?: KeyLimits }) =>
      run(async (context) => {
        const client = await clientOf(context);
        const { scopes, expiresAt, quota } = options;
        const input = { name, scopes, ...given({ expires_at: expiresAt, limits: quota }) };
        showSecret(context, await client.keys.create(input, context));
      }),
    );
  paged(keys.command('list').description('list the keys')).action((options: PageOptions) =>
    run(async (context) =>
      showList(context, (await clientOf(context)).keys, options, (items) =>
        table(
          ['ID', 'NAME', 'START', 'SCOPES', 'QUOTAS', 'LAST USED', 'REVOKED'],
          items.map((key) => [
            key.id,
            key.name,
            key.start,
            key.scopes.join(','),
            describeLimits(key.limits),
            key.last_used_at,
            key.revoked_at,
          ]),
        ),
      ),
    ),
  );
  keys
    .command('revoke')
    .description('revoke a key')
    .argument('<id>', 'id of the key')
    .action((id: string) =>
      run(async (context) => {
        const key = await (await clientOf(context)).keys.revoke({ id }, context);
        show(context.output, key, () => `${key.id} is revoked`);
      }),
    );
  keys
    .command('quota')
    .description('give a key, and those that it is rotated to, a quota of its own')
    .argument('<id>', 'id of the key')
    .argument('<name>', keyLimitNameSchema.options.join(', '), oneOf(keyLimitNameSchema))
    .argument('<value>', 'a number, or `none`', numberOr('none'))
    .action((id: string, name: KeyLimitName, value: number | null) =>
      run(async (context) => {
        const key = await (await clientOf(context)).keys.limit({ id, name, value }, context);
        show(context.output, key, () =>
          fields([
            ['id', key.id],
            ['quotas', describeLimits(key.limits)],
          ]),
        );
      }),
    );
  keys
    .command('rotate')
    .description('make a key in the place of another, which works for a while yet')
    .argument('<id>', 'id of the key')
    .option('--overlap <seconds>', 'how long the old one works; 86400 unless given', integer(0))
    .action((id: string, options: { overlap?: number }) =>
      run(async (context) => {
        const client = await clientOf(context);
        const input = { id, ...given({ overlap_s: options.overlap }) };
        const made = await client.keys.rotate(input, context);
        showSecret(context, made, [['old key works until', made.old.expires_at]]);
      }),
    );
}

function showSecret(
  context: Context,
  made: { readonly key: Key; readonly secret: string },
  more: readonly (readonly [string, string | null])[] = [],
): void {
  show(context.output, made, () =>
    fields([
      ['id', made.key.id],
      ['secret', made.secret],
      ['scopes', made.key.scopes.join(', ')],
      ['quotas', describeLimits(made.key.limits)],
      ...more,
    ]),
  );
  note(context.output, 'The secret is not shown again.');
}

function describeLimits(limits: KeyLimits): string | null {
  const named = Object.entries(limits).map(([name, value]) => `${name}=${value}`);
  return named.length === 0 ? null : named.join(',');
}

function quotas(text: string, before: KeyLimits = {}): KeyLimits {
  const [name = '', value = ''] = text.split('=', 2);
  return { ...before, [oneOf(keyLimitNameSchema)(name)]: decimal(0)(value) };
}

function scopes(text: string): Scope[] {
  return text.split(',').map((word) => {
    const scope = scopeSchema.safeParse(word.trim());
    if (scope.success) return scope.data;
    throw new InvalidArgumentError(`It must be some of ${scopeSchema.options.join(', ')}.`);
  });
}
