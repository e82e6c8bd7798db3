import type { Command } from 'commander';
import type { Context, Runner } from '../context.ts';
import {
  FLOAT_FORMATS,
  PRESETS,
  WEIGHT_FORMATS,
  loadModelTools,
  type ImportReport,
  type ImportRequest,
  type PlanReport,
  type PlanRequest,
} from '../model-tools.ts';
import { choice, decimal, integer, integers } from '../options.ts';
import { bytes, fields, note, show, table } from '../output.ts';
import { progress } from '../progress.ts';

type PlanFlags = Omit<PlanRequest, 'preset'>;
type ImportFlags = Omit<ImportRequest, 'dir' | 'signal' | 'onProgress' | 'policy'> &
  Omit<NonNullable<ImportRequest['policy']>, 'wrist'> & {
    readonly wrist?: number;
    readonly parts?: true;
  };

/** `models`: on this machine alone, without a control plane. */
export function addModels(program: Command, run: Runner): void {
  const models = program
    .command('models')
    .description('published models: memory they take, files to run them from');
  addPlan(models, run);
  addImport(models, run);
}

function addPlan(models: Command, run: Runner): void {
  const preset = models.createArgument('<preset>', 'size of the model').choices([...PRESETS]);
  models
    .command('plan')
    .description('say what a model takes of a GPU’s memory, and what fits beside it')
    .addArgument(preset)
    .requiredOption('--gpu-memory <gib>', 'memory of the GPU, GiB', decimal(1))
    .option('--reserve <gib>', 'kept for driver, libraries and workspace, GiB', decimal(0), 2)
    .option('--batch <n>', 'robots in a batch', integer(1), 8)
    .option('--external <n>', 'external views of a robot', integer(0), 1)
    .option('--wrist <n>', 'wrist views of a robot', integer(0), 1)
    .option('--text-tokens <n>', 'tokens of an instruction', integer(0), 48)
    .option('--reasoning-tokens <n>', 'tokens of reasoning at most', integer(0), 64)
    .option('--policies <n>', 'policies resident at once', integer(1), 64)
    .option('--lora-rank <n>', 'rank of each policy’s adapter, 0 for none', integer(0), 16)
    .action((name: PlanRequest['preset'], flags: PlanFlags) =>
      run(async (context) => {
        const { planModel } = await loadModelTools();
        const report = planModel({ preset: name, ...flags });
        show(context.output, report, () => describePlan(report));
      }),
    );
}

function addImport(models: Command, run: Runner): void {
  models
    .command('import')
    .description(
      'write published folders (Qwen2-VL, Llama, SigLIP) as one policy, or as graphs of their own, with one weights file',
    )
    .argument('<dir>', 'folder with config.json and safetensors')
    .requiredOption('--out <dir>', 'folder to make')
    .option('--vision <dir>', 'folder of SigLIP, in place of the model’s own vision tower')
    .addOption(
      choice('--weights <format>', 'of the language model’s layers', WEIGHT_FORMATS).default(
        'float16',
      ),
    )
    .addOption(
      choice(
        '--rest <format>',
        'of embeddings, output layer and vision (default: float16 with float16 and int4, else float32)',
        FLOAT_FORMATS,
      ),
    )
    .option('--batch <n>', 'rows of a batch', integer(1), 1)
    .option('--views <n>', 'views of a row, 0 for text alone', integer(0), 2)
    .option('--wrist <n>', 'how many of them are on the wrist (default: all but one)', integer(0))
    .option('--parts', 'vision and language as graphs of their own, not joined to a policy')
    .option('--horizon <n>', 'actions of a policy’s chunk', integer(1), 16)
    .option('--decoder <channels>', 'channels of the decoder’s levels', integers, [256, 512, 1024])
    .option('--slots <n>', 'robots’ heads resident at once', integer(1), 8)
    .option('--lora-rank <n>', 'rank of each slot’s adapter, 0 for none', integer(0), 0)
    .option('--seed <n>', 'of the weights that no folder holds', integer(0), 0)
    .option('--image-size <px>', 'side of a picture, for Qwen2-VL’s own tower', integer(1), 224)
    .option(
      '--visual-tokens <n>',
      'visual tokens of a row (default: what vision gives)',
      integer(0),
    )
    .option('--text-tokens <n>', 'tokens of an instruction', integer(1), 48)
    .option('--reasoning-tokens <n>', 'tokens that are generated', integer(1), 20)
    .option('--no-check', 'neither load the result nor compare its logits with float32')
    .action((dir: string, flags: ImportFlags) =>
      run(async (context) => importFolder(context, dir, flags)),
    )
    .addHelpText(
      'after',
      `
With a language model and something to see with (--vision, or the model's own tower) the result is one
policy: act.onnx, reason.onnx and reason_and_act.onnx. What no folder holds starts from the seed: the
resampler, the projector and the decoder in model.data, one robot's head in head.safetensors.
The folder appears whole or not at all; Ctrl-C and SIGTERM leave nothing
behind, and what a kill leaves beside it goes when the next import to that place begins. int8 runs on CPUs alone.
Comparing logits writes the language model once more in float32, for a while, beside the result.
`,
    );
}

async function importFolder(
  context: Context,
  dir: string,
  { wrist, parts, horizon, decoder, slots, loraRank, seed, ...flags }: ImportFlags,
): Promise<void> {
  const own = { horizon, decoder, slots, loraRank, seed };
  const policy = parts ? null : { wrist: wrist ?? Math.max(0, flags.views - 1), ...own };
  const { importModel } = await loadModelTools();
  const bar = progress(context.output, 'import');
  try {
    const report = await importModel({
      ...flags,
      policy,
      dir,
      signal: context.signal,
      onProgress: (phase, share, text) => {
        bar.update(share, phase === 'write' ? text : `comparing ${text}`);
      },
    });
    bar.end();
    show(context.output, report, () => describeImport(report));
    if (report.not_compared !== null) {
      note(context.output, `logits were not compared: ${report.not_compared}`);
    }
  } finally {
    bar.end();
  }
}

const GIB = 2 ** 30;

function describePlan({ preset, gpu_memory_gib: memory, formats, ...asked }: PlanReport): string {
  const gib = (count: number): string => (count / GIB).toFixed(2);
  const names = formats[0]?.parts.map(({ name }) => name) ?? [];
  const left = (used: number): string => {
    const room = memory * GIB - used;
    return room < 0 ? `no, ${gib(-room)} short` : `yes, ${gib(room)} left`;
  };
  const adapters = asked.lora_rank === 0 ? 'no adapters' : `adapters of rank ${asked.lora_rank}`;
  const title = `${preset}, batch ${asked.batch}, policies ${asked.policies}, ${adapters}`;
  const plans = table(
    ['GiB', ...formats.map(({ format }) => format)],
    [
      ...names.map((name, i) => [name, ...formats.map(({ parts }) => gib(parts[i]?.bytes ?? 0))]),
      ['total', ...formats.map((plan) => gib(plan.bytes))],
      [`fits ${memory} GiB`, ...formats.map((plan) => left(plan.bytes))],
      ['largest batch', ...formats.map((plan) => plan.largest_batch)],
      ['most policies', ...formats.map((plan) => plan.most_policies)],
      ['runs on', ...formats.map((plan) => (plan.runs_on_gpus ? 'GPU, CPU' : 'CPU alone'))],
    ],
  );
  return `${title}\n\n${plans}`;
}

function describeImport(report: ImportReport): string {
  const percent = (share: number): string => `${(100 * share).toPrecision(3)} %`;
  const errors =
    report.errors.length === 0
      ? ''
      : `${table(
          ['WEIGHT', 'FORMAT', 'RMS ERROR', 'MAX ERROR'],
          report.errors.map(({ name, format, rms, max }) => [
            name,
            format,
            percent(rms),
            percent(max),
          ]),
        )}\n\n`;
  const { logits } = report;
  const fresh = report.fresh.map(
    ({ file, scope, parameters }) => `${scope} (${parameters}) in ${file}`,
  );
  return `${errors}${fields([
    ['folder', report.out],
    ['weights', `${report.weights}, the rest ${report.rest}`],
    ['parameters', report.parameters],
    ['fresh weights', fresh.length === 0 ? null : fresh.join(', ')],
    ['size', bytes(report.bytes)],
    ['files', report.files.map(({ name }) => name).join(', ')],
    ['logits, cosine', logits === null ? null : logits.cosine.toFixed(6)],
    ['logits, largest difference', logits === null ? null : logits.max_difference.toPrecision(3)],
  ])}`;
}
