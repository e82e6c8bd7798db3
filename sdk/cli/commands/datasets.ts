import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { ArmatureError, type Dataset, type DatasetReport } from '../../contract/index.ts';
import { pushDataset, type Armature, type PushProgress } from '../../src/index.ts';
import { clientOf, type Context, type Runner } from '../context.ts';
import { showList } from '../list.ts';
import { integer, numbersAndRuns, paged, type PageOptions } from '../options.ts';
import { bytes, fields, note, show, table } from '../output.ts';
import { progress } from '../progress.ts';

interface PushFlags {
  readonly embodiment: string;
  readonly name?: string;
  readonly concurrency?: number;
  readonly partSize?: number;
  readonly resume: boolean;
  readonly validate: boolean;
}

/** `datasets`. */
export function addDatasets(program: Command, run: Runner): void {
  const datasets = program.command('datasets').description('recorded demonstrations');
  datasets
    .command('push')
    .description('upload a data set and have it validated; goes on where it was cut off')
    .argument('<dir>', 'folder of the set')
    .requiredOption('--embodiment <id>', 'the robot that it was recorded with')
    .option('--name <name>', "name of the set; the folder's unless given")
    .option('--concurrency <n>', 'files and parts of files in transfer at once', integer(1))
    .option(
      '--part-size <mib>',
      'send larger files in parts of so many MiB; 64 unless given',
      integer(1),
    )
    .option('--no-resume', 'start anew, leave an unfinished upload alone')
    .option('--no-validate', 'do not wait for the validation')
    .action((dir: string, flags: PushFlags) => run((context) => push(context, dir, flags)));
  paged(datasets.command('list').description('list the data sets')).action((options: PageOptions) =>
    run(async (context) =>
      showList(context, (await clientOf(context)).datasets, options, (items) =>
        table(
          ['ID', 'NAME', 'STATUS', 'FILES', 'SIZE', 'EPISODES', 'FRAMES'],
          items.map((set) => [
            set.id,
            set.name,
            set.status,
            set.files,
            bytes(set.bytes),
            set.report?.episodes ?? null,
            set.report?.frames ?? null,
          ]),
        ),
      ),
    ),
  );
  datasets
    .command('get')
    .description('show one data set')
    .argument('<id>', 'id of the set')
    .action((id: string) =>
      run(async (context) => {
        const set = await (await clientOf(context)).datasets.get({ id }, context);
        show(context.output, set, () => describe(set));
      }),
    );
  datasets
    .command('accept')
    .description('validate a set that was rejected again without some of its episodes')
    .argument('<id>', 'id of the set')
    .requiredOption(
      '--without <episodes>',
      'all that are to be left out, as the report has them: 3,20-24',
      numbersAndRuns,
    )
    .action((id: string, { without }: { without: number[] }) =>
      run(async (context) => {
        const input = { id, without_episodes: without };
        const set = await (await clientOf(context)).datasets.accept(input, context);
        show(context.output, set, () => `${set.id} is ${set.status}`);
      }),
    );
  datasets
    .command('delete')
    .description('take the files of a set away; its versions keep their digests')
    .argument('<id>', 'id of the set')
    .action((id: string) =>
      run(async (context) => {
        const set = await (await clientOf(context)).datasets.delete({ id }, context);
        show(context.output, set, () => `${set.id} is ${set.status}`);
      }),
    );
  datasets
    .command('episodes')
    .description('show the episodes of a validated set, with URLs of pictures of each')
    .argument('<id>', 'id of the set')
    .option('--page <n>', 'fifty episodes each, from 0', integer(0), 0)
    .action((id: string, { page }: { page: number }) =>
      run((context) => episodes(context, id, page)),
    );
  datasets
    .command('report')
    .description('show what the validation found')
    .argument('<id>', 'id of the set')
    .action((id: string) =>
      run(async (context) => {
        const set = await (await clientOf(context)).datasets.get({ id }, context);
        if (set.report === null) {
          throw new ArmatureError('not_found', `${id} has no report yet (${set.status})`, {
            field: 'report',
            fix: 'Wait until the set is validated.',
          });
        }
        const { report } = set;
        show(context.output, report, () => describeReport(report));
      }),
    );
}

async function episodes(context: Context, id: string, page: number): Promise<void> {
  const found = await (await clientOf(context)).datasets.episodes({ id, page }, context);
  show(context.output, found, () =>
    table(
      ['EPISODE', 'FRAMES', 'SECONDS', 'TASK', 'PICTURES'],
      found.items.map((item) => [
        item.episode,
        item.frames,
        item.seconds.toFixed(1),
        item.task,
        item.pictures.map(({ url }) => url).join(' '),
      ]),
    ),
  );
  if (found.next_page !== null) {
    note(context.output, `More: --page ${found.next_page}`);
  }
}

async function push(context: Context, dir: string, flags: PushFlags): Promise<void> {
  const client = await clientOf(context);
  const bar = progress(context.output, 'push');
  const seen: { datasetId?: string } = {};
  try {
    const set = await pushDataset({
      client,
      dir,
      embodimentId: flags.embodiment,
      name: flags.name ?? basename(resolve(dir)),
      resume: flags.resume ? 'auto' : 'never',
      validate: flags.validate,
      signal: context.signal,
      ...(flags.concurrency === undefined ? {} : { concurrency: flags.concurrency }),
      ...(flags.partSize === undefined ? {} : { partBytes: flags.partSize * 2 ** 20 }),
      onProgress: (at) => {
        if (at.datasetId !== undefined) seen.datasetId = at.datasetId;
        bar.update(at.total === 0 ? 1 : at.done / at.total, phaseText(at));
      },
    });
    bar.end();
    show(context.output, set, () => describe(set));
    note(context.output, findingsLine(set));
  } catch (error) {
    bar.end();
    await explain(context, client, seen.datasetId, error);
    throw error;
  }
}

/** Shows the report of a set that was refused, and how to go on after Ctrl-C. */
async function explain(
  context: Context,
  client: Armature,
  id: string | undefined,
  error: unknown,
): Promise<void> {
  if (!(error instanceof ArmatureError) || id === undefined) return;
  if (error.code === 'cancelled') {
    note(context.output, 'Push again to go on where this stopped.');
  } else if (error.code === 'invalid_dataset' || error.code === 'empty_dataset') {
    const { report } = await client.datasets.get({ id });
    if (report !== null) note(context.output, `${describeReport(report)}\n`);
  }
}

function phaseText(at: PushProgress): string {
  if (at.phase === 'validate') return 'validating';
  const verb = at.phase === 'hash' ? 'hashing' : 'sending';
  const resumed = at.resumedFiles === undefined || at.resumedFiles === 0;
  const there = resumed ? '' : `, ${at.resumedFiles} files were there`;
  return `${verb} ${bytes(at.done)} of ${bytes(at.total)}${there}`;
}

function describe(set: Dataset): string {
  return fields([
    ['id', set.id],
    ['name', set.name],
    ['embodiment', set.embodiment_id],
    ['status', set.status],
    ['size', `${set.files} files, ${bytes(set.bytes)}`],
    ['episodes', set.report?.episodes ?? null],
    ['frames', set.report?.frames ?? null],
    ['created', set.created_at],
  ]);
}

function findingsLine({ report }: Dataset): string {
  if (report === null) return '';
  const errors = report.findings.filter(({ severity }) => severity === 'error').length;
  const warnings = report.findings.length - errors;
  return `${errors} errors, ${warnings} warnings`;
}

function describeReport(report: DatasetReport): string {
  const head = fields([
    ['format', `${report.format}, ${report.robot_type}`],
    ['episodes', `${report.episodes}, ${report.frames} frames at ${report.fps} Hz`],
    ['tasks', report.tasks.join('; ')],
    ['cameras', report.cameras.map((c) => `${c.name} ${c.width}×${c.height}`).join(', ')],
    [
      'checked',
      `${report.ingest.frames_per_s.toFixed(0)} frames/s in ${report.ingest.seconds.toFixed(1)} s`,
    ],
  ]);
  const findings = table(
    ['SEVERITY', 'CODE', 'EPISODE', 'FEATURE', 'WHAT', 'FIX'],
    report.findings.map((f) => [
      f.severity,
      f.code,
      f.episode ?? null,
      f.feature ?? null,
      f.message,
      f.fix,
    ]),
  );
  return `${head}\n\n${findings}`;
}
