import type { Command } from 'commander';
import { roleSchema, type Member, type Role } from '../../contract/index.ts';
import { storeAccess } from '../config.ts';
import { clientOf, enteredSecret, withKey, type Context, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { choice, given, integer, paged, type PageOptions } from '../options.ts';
import { fields, note, show, table } from '../output.ts';

/** `members`, `invitations`. */
export function addPeople(program: Command, run: Runner): void {
  addMembers(program, run);
  addInvitations(program, run);
}

function addMembers(program: Command, run: Runner): void {
  const members = program.command('members').description('people of the tenant');
  paged(members.command('list').description('list the people')).action((options: PageOptions) =>
    run(async (context) =>
      showList(context, (await clientOf(context)).members, options, (items) =>
        table(
          ['ID', 'EMAIL', 'ROLE', 'SINCE', 'REMOVED'],
          items.map((member) => [
            member.id,
            member.email,
            member.role,
            member.created_at,
            member.removed_at,
          ]),
        ),
      ),
    ),
  );
  members
    .command('change')
    .description('give a person another role')
    .argument('<id>', 'id of the member')
    .addOption(roleOption())
    .action((id: string, { role }: { role: Role }) =>
      run(async (context) => {
        const member = await (await clientOf(context)).members.change({ id, role }, context);
        show(context.output, member, () => describeMember(member));
      }),
    );
  members
    .command('remove')
    .description("remove a person and end the person's keys")
    .argument('<id>', 'id of the member')
    .action((id: string) =>
      run(async (context) => {
        const member = await (await clientOf(context)).members.remove({ id }, context);
        show(context.output, member, () => `${member.email} is removed`);
      }),
    );
}

function addInvitations(program: Command, run: Runner): void {
  const invitations = program.command('invitations').description('invitations to the tenant');
  invitations
    .command('create')
    .description('invite a person; the secret is shown once')
    .argument('<email>', 'address of the person')
    .addOption(roleOption())
    .option('--expires-in <seconds>', '60 to 2592000; a week unless given', integer(60))
    .action((email: string, options: { role: Role; expiresIn?: number }) =>
      run(async (context) => {
        const { role, expiresIn } = options;
        const made = await (
          await clientOf(context)
        ).invitations.create({ email, role, ...given({ expires_in_s: expiresIn }) }, context);
        show(context.output, made, () =>
          fields([
            ['id', made.invitation.id],
            ['email', made.invitation.email],
            ['role', made.invitation.role],
            ['expires', made.invitation.expires_at],
            ['secret', made.secret],
          ]),
        );
        note(context.output, 'The secret is not shown again; it is for the invited person alone.');
      }),
    );
  paged(invitations.command('list').description('list the invitations')).action(
    (options: PageOptions) =>
      run(async (context) =>
        showList(context, (await clientOf(context)).invitations, options, (items) =>
          table(
            ['ID', 'EMAIL', 'ROLE', 'EXPIRES', 'ACCEPTED', 'REVOKED'],
            items.map((invitation) => [
              invitation.id,
              invitation.email,
              invitation.role,
              invitation.expires_at,
              invitation.accepted_at,
              invitation.revoked_at,
            ]),
          ),
        ),
      ),
  );
  invitations
    .command('revoke')
    .description('take an invitation back')
    .argument('<id>', 'id of the invitation')
    .action((id: string) =>
      run(async (context) => {
        const taken = await (await clientOf(context)).invitations.revoke({ id }, context);
        show(context.output, taken, () => `${taken.id} is revoked`);
      }),
    );
  invitations
    .command('accept')
    .description('become a member, and store the key of your own for this user')
    .addHelpText('after', '\nThe invitation is read from a pipe, or asked for. It works once.\n')
    .action(() => run(accept));
}

async function accept(context: Context): Promise<void> {
  const { env, output } = context;
  const invitation = await enteredSecret(context, 'Invitation: ');
  const client = await clientOf(withKey(context, invitation));
  const made = await client.invitations.accept({}, context);
  const path = await storeAccess({ apiUrl: client.apiUrl, apiKey: made.secret }, env);
  const { member, key } = made;
  show(output, { member, key, api_url: client.apiUrl, stored: path }, () =>
    [describeMember(member), fields([['stored in', path]])].join('\n'),
  );
}

function describeMember(member: Member): string {
  return fields([
    ['id', member.id],
    ['email', member.email],
    ['role', member.role],
    ['since', member.created_at],
  ]);
}

function roleOption() {
  return choice(
    '--role <role>',
    'what the person may do',
    roleSchema.options,
  ).makeOptionMandatory();
}
