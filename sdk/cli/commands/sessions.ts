import { InvalidArgumentError, type Command } from 'commander';
import type { ReasoningCadence, Session } from '../../contract/index.ts';
import { clientOf, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { decimal, given, integer, paged, type PageOptions } from '../options.ts';
import { fields, note, show, table } from '../output.ts';

interface CreateFlags {
  readonly robot: string;
  readonly embodiment: string;
  readonly policy?: string;
  readonly reasoning?: ReasoningCadence;
  readonly samplerSteps?: number;
  readonly noiseScale?: number;
  readonly maxHz?: number;
}

/** `sessions`. */
export function addSessions(program: Command, run: Runner): void {
  const sessions = program.command('sessions').description("robots' sessions");
  sessions
    .command('create')
    .description('create a session; its token is what a robot connects with')
    .requiredOption('--robot <name>', 'which robot')
    .requiredOption('--embodiment <id>', 'what robot it is')
    .option('--policy <id>', 'policy version; the deployed one unless given')
    .option(
      '--reasoning <cadence>',
      'every_chunk, instruction_change, scene:SHARE, off, or ms between',
      cadence,
    )
    .option('--sampler-steps <n>', 'overrides the sampler (with --noise-scale)', integer(1))
    .option('--noise-scale <share>', 'overrides the sampler (with --sampler-steps)', decimal(0))
    .option('--max-hz <hz>', 'observations a second at most', decimal(0))
    .action((flags: CreateFlags) =>
      run(async (context) => {
        const { samplerSteps: steps, noiseScale: noise_scale } = flags;
        const sampler =
          steps === undefined || noise_scale === undefined ? undefined : { steps, noise_scale };
        const grant = await (
          await clientOf(context)
        ).sessions.create(
          {
            robot: flags.robot,
            embodiment_id: flags.embodiment,
            ...given({
              policy_version_id: flags.policy,
              reasoning: flags.reasoning,
              sampler,
              max_hz: flags.maxHz,
            }),
          },
          context,
        );
        show(context.output, grant, () =>
          fields([
            ['id', grant.session.id],
            ['policy', grant.session.policy_version_id],
            ['worker', grant.url],
            ['token', grant.token],
            ['expires', grant.token_expires_at],
          ]),
        );
        note(context.output, 'The token lets a robot in until it expires.');
      }),
    );
  paged(sessions.command('list').description('list the sessions')).action((options: PageOptions) =>
    run(async (context) =>
      showList(context, (await clientOf(context)).sessions, options, (items) =>
        table(
          ['ID', 'ROBOT', 'EMBODIMENT', 'POLICY', 'EPOCH', 'CREATED', 'ENDED'],
          items.map((session) => [
            session.id,
            session.robot,
            session.embodiment_id,
            session.policy_version_id,
            session.epoch,
            session.created_at,
            session.ended_at,
          ]),
        ),
      ),
    ),
  );
  sessions
    .command('get')
    .description('show one session')
    .argument('<id>', 'id of the session')
    .action((id: string) =>
      run(async (context) => {
        const session = await (await clientOf(context)).sessions.get({ id }, context);
        show(context.output, session, () => describe(session));
      }),
    );
  sessions
    .command('end')
    .description('end a session')
    .argument('<id>', 'id of the session')
    .action((id: string) =>
      run(async (context) => {
        const session = await (await clientOf(context)).sessions.end({ id }, context);
        show(context.output, session, () => describe(session));
      }),
    );
}

function cadence(text: string): ReasoningCadence {
  if (text === 'every_chunk' || text === 'instruction_change' || text === 'off') {
    return { when: text };
  }
  const ms = Number(text);
  const scene = text.startsWith('scene:') ? Number(text.slice('scene:'.length) || NaN) : NaN;
  if (scene >= 0 && scene <= 1) return { when: 'change', scene };
  if (Number.isInteger(ms) && ms >= 1 && ms <= 60_000) return { when: 'interval', ms };
  throw new InvalidArgumentError(
    'It must be every_chunk, instruction_change, scene:0.05 (0 to 1), off, or 1 to 60000 ms.',
  );
}

function describe(session: Session): string {
  return fields([
    ['id', session.id],
    ['robot', session.robot],
    ['embodiment', session.embodiment_id],
    ['policy', session.policy_version_id],
    ['epoch', session.epoch],
    ['created', session.created_at],
    ['ended', session.ended_at],
  ]);
}
