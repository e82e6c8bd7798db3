import type { Command } from 'commander';
import {
  ArmatureError,
  limitNameSchema,
  type LimitName,
  type Tenant,
} from '../../contract/index.ts';
import { Armature } from '../../src/index.ts';
import { storeAccess } from '../config.ts';
import { clientOf, enteredSecret, withKey, type Context, type Runner } from '../context.ts';
import { given, numberOr, oneOf } from '../options.ts';
import { fields, note, show } from '../output.ts';

/** `login`, `tenants`. */
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
    .command('limit')
    .description("grant a tenant a limit of its own, with the operator's own key")
    .argument('<id>', 'id of the tenant')
    .argument('<name>', limitNameSchema.options.join(', '), oneOf(limitNameSchema))
    .argument('<value>', 'a number, or `default`', numberOr('default'))
    .option('--platform-key <key>', "the operator's key; ARMATURE_PLATFORM_KEY unless given")
    .action(
      (id: string, name: LimitName, value: number | null, options: { platformKey?: string }) =>
        run(async (context) => {
          const client = await operatorOf(context, options.platformKey);
          const set = await client.tenants.limit({ id, name, value }, context);
          show(context.output, set, () => `${set.name}: ${set.value ?? 'default'}`);
        }),
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

/** A client with the operator's key; with the context's own where none is given. */
function operatorOf(context: Context, platformKey: string | undefined): Promise<Armature> {
  const key = platformKey ?? context.env['ARMATURE_PLATFORM_KEY'];
  return clientOf(key === undefined ? context : withKey(context, key));
}

async function createTenant(
  context: Context,
  name: string,
  platformKey: string | undefined,
): Promise<void> {
  const made = await (await operatorOf(context, platformKey)).tenants.create({ name }, context);
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
