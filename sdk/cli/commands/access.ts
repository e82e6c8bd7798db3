import { InvalidArgumentError, type Command } from 'commander';
import { ArmatureError, scopeSchema, type Scope, type Tenant } from '../../contract/index.ts';
import { Armature } from '../../src/index.ts';
import { storeAccess } from '../config.ts';
import { clientOf, enteredSecret, withKey, type Context, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { given, paged, type PageOptions } from '../options.ts';
import { fields, note, show, table } from '../output.ts';

/** `login`, `tenants`, `keys`. */
export function addAccess(program: Command, run: Runner): void {
  program
    .command('login')
    .description('store address and key for this user')
    .addHelpText(
      'after',
      '\nThe key is read from --api-key, ARMATURE_API_KEY, a pipe, or asked for.\n',
    )
    .action(() => run(login));

  const tenants = program.command('tenants').description('tenants of the platform');
  tenants
    .command('create')
    .description("create a tenant and its first key, with the operator's own key")
    .argument('<name>', 'name of the tenant')
    .option('--platform-key <key>', "the operator's key; ARMATURE_PLATFORM_KEY unless given")
    .action((name: string, options: { platformKey?: string }) =>
      run((context) => createTenant(context, name, options.platformKey)),
    );
  tenants
    .command('current')
    .description('the tenant that the key belongs to')
    .action(() =>
      run(async (context) => {
        const tenant = await (await clientOf(context)).tenants.current({}, context);
        show(context.output, tenant, () => describeTenant(tenant));
      }),
    );
  tenants
    .command('update')
    .description('change the tenant that the key belongs to')
    .option('--name <name>', 'its name')
    .option('--time-zone <zone>', 'whose days its usage is told by, e.g. Europe/Berlin')
    .action((flags: { name?: string; timeZone?: string }) =>
      run(async (context) => {
        const client = await clientOf(context);
        const changes = given({ name: flags.name, time_zone: flags.timeZone });
        const tenant = await client.tenants.update(changes, context);
        show(context.output, tenant, () => describeTenant(tenant));
      }),
    );

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
    .action((name: string, options: { scopes: Scope[]; expiresAt?: string }) =>
      run(async (context) => {
        const client = await clientOf(context);
        const made = await client.keys.create(
          { name, scopes: options.scopes, ...given({ expires_at: options.expiresAt }) },
          context,
        );
        show(context.output, made, () =>
          fields([
            ['id', made.key.id],
            ['secret', made.secret],
            ['scopes', made.key.scopes.join(', ')],
          ]),
        );
        note(context.output, 'The secret is not shown again.');
      }),
    );
  paged(keys.command('list').description('list the keys')).action((options: PageOptions) =>
    run(async (context) =>
      showList(context, (await clientOf(context)).keys, options, (items) =>
        table(
          ['ID', 'NAME', 'START', 'SCOPES', 'LAST USED', 'REVOKED'],
          items.map((key) => [
            key.id,
            key.name,
            key.start,
            key.scopes.join(','),
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
}

function describeTenant(tenant: Tenant): string {
  return fields([
    ['id', tenant.id],
    ['name', tenant.name],
    ['time zone', tenant.time_zone],
    ['created', tenant.created_at],
  ]);
}

async function login(context: Context): Promise<void> {
  const { options, env, output } = context;
  const apiUrl = options.apiUrl ?? env['ARMATURE_API_URL'];
  if (apiUrl === undefined) {
    throw new ArmatureError('invalid_request', 'there is no address to log in to', {
      field: 'api-url',
      fix: 'Give --api-url, e.g. https://api.example.com.',
    });
  }
  const apiKey =
    options.apiKey ?? env['ARMATURE_API_KEY'] ?? (await enteredSecret(context, 'API key: '));
  const client = new Armature({ apiUrl, apiKey });
  const tenant = await client.tenants.current({}, context);
  const path = await storeAccess({ apiUrl: client.apiUrl, apiKey }, env);
  show(output, { tenant, api_url: client.apiUrl, stored: path }, () =>
    fields([
      ['tenant', `${tenant.name} (${tenant.id})`],
      ['address', client.apiUrl],
      ['stored in', path],
    ]),
  );
}

async function createTenant(
  context: Context,
  name: string,
  platformKey: string | undefined,
): Promise<void> {
  const key = platformKey ?? context.env['ARMATURE_PLATFORM_KEY'];
  const inner = key === undefined ? context : withKey(context, key);
  const made = await (await clientOf(inner)).tenants.create({ name }, context);
  show(context.output, made, () =>
    fields([
      ['tenant', made.tenant.id],
      ['name', made.tenant.name],
      ['key', made.key.id],
      ['secret', made.secret],
    ]),
  );
  note(context.output, 'The secret is not shown again.');
}

function scopes(text: string): Scope[] {
  return text.split(',').map((word) => {
    const scope = scopeSchema.safeParse(word.trim());
    if (scope.success) return scope.data;
    throw new InvalidArgumentError(`It must be some of ${scopeSchema.options.join(', ')}.`);
  });
}
