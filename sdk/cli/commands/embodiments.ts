import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import {
  ArmatureError,
  embodimentSpecSchema,
  fromZodError,
  type Embodiment,
  type EmbodimentSpec,
  type Reference,
} from '../../contract/index.ts';
import { specFromLeRobot } from '../../src/index.ts';
import { clientOf, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { choice, decimal, given, integer, paged, type PageOptions } from '../options.ts';
import { fields, show, table } from '../output.ts';

interface CreateOptions {
  readonly spec?: string;
  readonly fromDataset?: string;
  readonly name?: string;
  readonly horizon?: number;
  readonly reference?: Reference;
  readonly margin?: number;
  readonly dryRun?: true;
}

/** `embodiments`. */
export function addEmbodiments(program: Command, run: Runner): void {
  const embodiments = program
    .command('embodiments')
    .description('robots as the platform knows them');
  embodiments
    .command('create')
    .description('register an embodiment from a spec, or from what a data set says of its robot')
    .option('--spec <file>', 'JSON file with the spec')
    .option('--from-dataset <dir>', 'LeRobot data set to derive the spec from')
    .option('--name <name>', 'name of the embodiment (with --from-dataset)')
    .option('--horizon <n>', 'actions a chunk, a multiple of 8 (with --from-dataset)', integer(8))
    .addOption(
      choice('--reference <reference>', 'what actions are relative to (with --from-dataset)', [
        'absolute',
        'state',
        'last_command',
      ]),
    )
    .option('--margin <share>', 'room beyond the recorded range (with --from-dataset)', decimal(0))
    .option('--dry-run', 'print the spec and register nothing')
    .action((options: CreateOptions) =>
      run(async (context) => {
        const spec = await readSpec(options);
        if (options.dryRun === true) {
          return show(context.output, spec, () => JSON.stringify(spec, null, 2));
        }
        const made = await (await clientOf(context)).embodiments.create({ spec }, context);
        show(context.output, made, () => describe(made));
      }),
    );
  paged(embodiments.command('list').description('list the embodiments')).action(
    (options: PageOptions) =>
      run(async (context) =>
        showList(context, (await clientOf(context)).embodiments, options, (items) =>
          table(
            ['ID', 'NAME', 'HZ', 'STATE', 'ACTION', 'CAMERAS', 'DEPLOYED'],
            items.map(({ id, spec, active_policy_version_id }) => [
              id,
              spec.name,
              spec.control_hz,
              spec.state.length,
              spec.action.length,
              spec.cameras.length,
              active_policy_version_id,
            ]),
          ),
        ),
      ),
  );
  embodiments
    .command('get')
    .description('show one embodiment')
    .argument('<id>', 'id of the embodiment')
    .action((id: string) =>
      run(async (context) => {
        const found = await (await clientOf(context)).embodiments.get({ id }, context);
        show(context.output, found, () => describe(found));
      }),
    );
}

async function readSpec(options: CreateOptions): Promise<EmbodimentSpec> {
  if ((options.spec === undefined) === (options.fromDataset === undefined)) {
    throw new ArmatureError('invalid_request', 'give either --spec or --from-dataset', {
      field: 'spec',
      fix: 'Give one of the two.',
    });
  }
  if (options.fromDataset !== undefined) {
    const { name, horizon, reference, margin } = options;
    return specFromLeRobot(options.fromDataset, given({ name, horizon, reference, margin }));
  }
  const path = options.spec ?? '';
  const parsed = embodimentSpecSchema.safeParse(await readJson(path));
  if (!parsed.success) throw fromZodError(parsed.error, 'invalid_request', path);
  return parsed.data;
}

async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ArmatureError('not_found', `${path} cannot be read`, {
      field: 'spec',
      fix: 'Give the path of a JSON file.',
      cause,
    });
  });
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new ArmatureError('invalid_request', `${path} is not JSON`, {
      field: 'spec',
      fix: 'Give a JSON file with an embodiment spec.',
      cause,
    });
  }
}

function describe({ id, spec, active_policy_version_id, created_at }: Embodiment): string {
  const head = fields([
    ['id', id],
    ['name', spec.name],
    ['control', `${spec.control_hz} Hz, ${spec.horizon} actions a chunk`],
    ['cameras', spec.cameras.map((c) => `${c.name} ${c.width}×${c.height} ${c.kind}`).join(', ')],
    ['deployed', active_policy_version_id],
    ['created', created_at],
  ]);
  const joints = table(
    ['ACTION', 'UNIT', 'GROUP', 'RELATIVE TO', 'MIN', 'MAX'],
    spec.action.map((joint) => [
      joint.name,
      joint.unit,
      joint.group,
      spec.references[joint.group] ?? null,
      joint.min,
      joint.max,
    ]),
  );
  return `${head}\n\n${joints}`;
}
