import type { Command } from 'commander';
import type { PolicyVersion, SimulatedScore } from '../../contract/index.ts';
import { downloadPolicy } from '../../src/index.ts';
import { clientOf, type Context, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { decimal, integer, paged, type PageOptions } from '../options.ts';
import { bytes, fields, show, table } from '../output.ts';
import { progress } from '../progress.ts';

/** `policies`. */
export function addPolicies(program: Command, run: Runner): void {
  const policies = program.command('policies').description('policy versions');
  paged(policies.command('list').description('list the versions')).action((options: PageOptions) =>
    run(async (context) =>
      showList(context, (await clientOf(context)).policies, options, (items) =>
        table(
          ['ID', 'NAME', 'EMBODIMENT', 'MODE', 'DEPLOYED', 'SIZE', 'CREATED'],
          items.map((version) => [
            version.id,
            version.name,
            version.embodiment_id,
            version.mode,
            version.active ? 'yes' : 'no',
            bytes(version.bytes),
            version.created_at,
          ]),
        ),
      ),
    ),
  );
  policies
    .command('get')
    .description('show one version')
    .argument('<id>', 'id of the version')
    .action((id: string) =>
      run(async (context) => {
        const version = await (await clientOf(context)).policies.get({ id }, context);
        show(context.output, version, () => describe(version));
      }),
    );
  policies
    .command('download')
    .description("fetch a version's manifest and weights; goes on where it was cut off")
    .argument('<id>', 'id of the version')
    .option('--out <dir>', "folder for the files; one of the version's id unless given")
    .action((id: string, { out }: { out?: string }) =>
      run((context) => download(context, id, out ?? id)),
    );
  policies
    .command('deploy')
    .description('make a version the one that new sessions of its embodiment get')
    .argument('<id>', 'id of the version')
    .action((id: string) =>
      run(async (context) => {
        const version = await (await clientOf(context)).policies.deploy({ id }, context);
        show(context.output, version, () => describe(version));
      }),
    );
  policies
    .command('canary')
    .description('give a version to a share of new sessions, beside the deployed one')
    .argument('<id>', 'id of the version')
    .requiredOption('--share <share>', 'share of new sessions, below 1; 0 ends it', decimal(0))
    .action((id: string, { share }: { share: number }) =>
      run(async (context) => {
        const embodiment = await (await clientOf(context)).policies.canary({ id, share }, context);
        const { canary } = embodiment;
        show(context.output, embodiment, () =>
          canary === null
            ? `${embodiment.id} has no canary`
            : `${canary.policy_version_id} gets ${canary.share * 100} % of new sessions`,
        );
      }),
    );
  policies
    .command('score')
    .description('record what a version scored in a simulator')
    .argument('<id>', 'id of the version')
    .requiredOption('--simulator <name>', 'the simulator and its task')
    .requiredOption('--episodes <n>', 'episodes that were run', integer(1))
    .requiredOption('--successes <n>', 'episodes in which the task was done', integer(0))
    .action((id: string, score: SimulatedScore) =>
      run(async (context) => {
        const version = await (await clientOf(context)).policies.score({ id, ...score }, context);
        show(context.output, version, () => describe(version));
      }),
    );
  policies
    .command('retire')
    .description('let a version have no new sessions any more')
    .argument('<id>', 'id of the version')
    .action((id: string) =>
      run(async (context) => {
        const version = await (await clientOf(context)).policies.retire({ id }, context);
        show(context.output, version, () => describe(version));
      }),
    );
}

async function download(context: Context, id: string, dir: string): Promise<void> {
  const client = await clientOf(context);
  const bar = progress(context.output, 'download');
  try {
    const got = await downloadPolicy({
      client,
      id,
      dir,
      signal: context.signal,
      onProgress: ({ done, total }) => {
        bar.update(total === 0 ? 1 : done / total, `${bytes(done)} of ${bytes(total)}`);
      },
    });
    bar.end();
    const size = got.files.reduce((sum, file) => sum + file.size, 0);
    show(
      context.output,
      { ...got, dir },
      () => `${got.id}: ${got.files.length} files, ${bytes(size)} in ${dir}`,
    );
  } catch (error) {
    bar.end();
    throw error;
  }
}

function describe(version: PolicyVersion): string {
  return fields([
    ['id', version.id],
    ['name', version.name],
    ['embodiment', version.embodiment_id],
    ['fine-tune', version.finetune_id],
    ['mode', version.mode],
    ['sampler', `${version.sampler.steps} steps, noise ${version.sampler.noise_scale}`],
    [
      'chunking',
      version.prefix_delay_max === 0
        ? 'off, guided'
        : `off, guided, trained (up to ${version.prefix_delay_max} actions of delay)`,
    ],
    ['trained on', version.data?.map(describeData).join(', ') ?? null],
    ['trained by', version.code === null ? null : `${version.code.version}, ${version.code.build}`],
    ['held out', describeHeldout(version)],
    ['simulated', describeSimulated(version)],
    ['digest', version.digest],
    ['size', bytes(version.bytes)],
    ['deployed', version.active ? 'yes' : 'no'],
    ['retired', version.retired_at],
    ['created', version.created_at],
  ]);
}

function describeData(data: NonNullable<PolicyVersion['data']>[number]): string {
  return `${data.dataset_id} (${data.episodes} episodes, ${data.digest.slice(0, 12)})`;
}

function describeHeldout({ scores: { heldout } }: PolicyVersion): string | null {
  if (heldout.score === null) return heldout.reason;
  const { served, hold, chunks } = heldout.score;
  return `mse ${served.mse.toFixed(4)} as served, ${hold.mse.toFixed(4)} with the state held (${chunks} chunks)`;
}

function describeSimulated({ scores: { simulated } }: PolicyVersion): string | null {
  if (simulated.score === null) return simulated.reason;
  const { simulator, successes, episodes } = simulated.score;
  return `${successes} of ${episodes}: ${simulator}`;
}
