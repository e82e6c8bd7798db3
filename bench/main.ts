import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import Table from 'cli-table3';
import { Argument, Command, Option } from 'commander';
import {
  cardNames,
  largeFormats,
  largeNames,
  type LargeOptions,
  type PartName,
  partNames,
  type PartResult,
  partResultSchema,
  providers,
} from './result.ts';

interface Flags {
  readonly json?: string;
  readonly threads: string;
  readonly dataset?: string;
  readonly quick?: true;
  readonly large?: LargeOptions['preset'];
  readonly provider: LargeOptions['provider'];
  readonly weights?: LargeOptions['weights'];
  readonly card?: LargeOptions['card'];
  readonly layers?: string;
}

/** Real recordings beside the checkout, where there are some. */
const RECORDINGS = fileURLToPath(new URL('../../shared/data/g1-bottle-heldout', import.meta.url));

const program = new Command('npm run bench --')
  .description(
    'Measures this machine: the model, serving, ingest, training, the control plane, real-time chunking, denoising steps and frozen layers in few bits.',
  )
  .addArgument(new Argument('[parts...]', 'what to measure').choices([...partNames]))
  .option('--json <file>', 'write the figures as JSON')
  .option('--threads <n>', 'threads of an engine', String(os.availableParallelism()))
  .option('--dataset <folder>', 'LeRobot set that ingest reads')
  .option('--quick', 'just enough to see that it works: figures of no worth')
  .addOption(
    new Option('--large <preset>', 'model: published sizes with random weights').choices(
      largeNames,
    ),
  )
  .addOption(new Option('--provider <name>', 'what runs --large').choices(providers).default('cpu'))
  .addOption(
    new Option('--weights <format>', 'of --large (default: float32 on cpu, else float16)').choices(
      largeFormats,
    ),
  )
  .addOption(new Option('--card <name>', 'whose limits stand beside --large').choices(cardNames))
  .option('--layers <n>', 'of --large, at most so many')
  .parse();
const flags = program.opts<Flags>();
const asked = program.processedArgs[0] as PartName[];
// The control plane's figures have ingest's beside them.
const wanted = new Set(
  asked.flatMap((part) => (part === 'api' ? [part, 'ingest' as const] : [part])),
);
const parts = asked.length === 0 ? partNames : [...wanted];
const dataset = flags.dataset ?? (existsSync(RECORDINGS) ? RECORDINGS : undefined);

const results: Partial<Record<PartName, PartResult>> = {};
for (const part of parts) {
  process.stderr.write(`measuring ${part} …\n`);
  results[part] = await measure(part);
}
process.stdout.write(`${tableOf(results)}\n`);
if (flags.json !== undefined) {
  const cpu = os.cpus()[0]?.model.trim() ?? 'unknown';
  const machine = { cpu, threads: Number(flags.threads), node: process.versions.node };
  const named: PartResult['summary'] = {};
  for (const [name, values] of Object.values(results).flatMap(({ summary }) =>
    Object.entries(summary),
  )) {
    named[name] = { ...named[name], ...values };
  }
  const parts = Object.entries(results).map(([part, { summary: _, ...rest }]) => [part, rest]);
  const all = { machine, ...named, ...(Object.fromEntries(parts) as object) };
  await writeFile(flags.json, `${JSON.stringify(all, null, 2)}\n`);
}

function largeOf(preset: LargeOptions['preset']): LargeOptions {
  const { provider, weights, card, layers } = flags;
  return {
    preset,
    provider,
    weights: weights ?? (provider === 'cpu' ? 'float32' : 'float16'),
    card: card ?? null,
    layers: layers === undefined ? null : Number(layers),
  };
}

/** Runs one part in a process of its own. @throws Error when it ends without a result. */
async function measure(part: PartName): Promise<PartResult> {
  const scratch = await mkdtemp(path.join(os.tmpdir(), `armature-bench-${part}-`));
  try {
    return await new Promise((resolve, reject) => {
      const child = fork(
        fileURLToPath(new URL('./child.ts', import.meta.url)),
        [
          ...['--part', part, '--threads', flags.threads, '--scratch', scratch],
          ...(dataset === undefined ? [] : ['--dataset', dataset]),
          ...(flags.quick === true ? ['--quick'] : []),
          ...(flags.large === undefined ? [] : ['--large', JSON.stringify(largeOf(flags.large))]),
        ],
        { execArgv: ['--import', 'tsx'], serialization: 'advanced' },
      );
      let result: PartResult | undefined;
      child.on('message', (message) => (result = partResultSchema.parse(message)));
      child.on('error', reject);
      child.on('exit', (code) => {
        if (code === 0 && result !== undefined) resolve(result);
        else reject(new Error(`${part} ended with exit code ${code ?? 'unknown'}`));
      });
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function tableOf(measured: Partial<Record<PartName, PartResult>>): string {
  const table = new Table({
    head: ['part', 'figure', 'value', 'unit'],
    colAligns: ['left', 'left', 'right', 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const part of partNames) {
    const result = measured[part];
    if (result === undefined) continue;
    const { figures, peak_rss_mb: peak } = result;
    for (const { name, value, unit } of figures) table.push([part, name, round(value), unit]);
    table.push([part, 'peak memory', round(peak), 'MB']);
  }
  return table.toString();
}

function round(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
