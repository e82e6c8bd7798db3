import { readFile } from 'node:fs/promises';
import {
  type BaseModel,
  baseWeightsUrl,
  loadBase,
  writeWeights,
} from '@armature/policy/checkpoint';
import { imageSize } from '@armature/policy/data';
import { Engine } from '@armature/policy/engine';
import { type ActRow, PolicyRuntime } from '@armature/policy/runtime';
import type { FinishedPolicy } from '@armature/policy/train';
import { trio } from '@armature/sim';
import { freshPolicy } from '../../fresh-policy.ts';
import { matmulRate } from '../../matmul.ts';
import type { Figure, PartMeasurement, PartOptions } from '../../result.ts';
import { latencyFigures, timed } from '../../timing.ts';
import { againstPytorch } from './against-pytorch.ts';
import { measureLarge } from './large.ts';
import { whatChangesBring } from './changes.ts';
import { againstLimits } from './limits.ts';
import { costOfTokens } from './tokens.ts';

const BATCHES = [1, 8, 32] as const;
/** Calls that are timed, fewer of large batches. */
const CALLS = { 1: 100, 8: 40, 32: 20 } as const;
const [TURNS, CALLS_A_TURN] = [10, 10];

/**
 * The model alone, in one engine: an external and a wrist view, chunks of 16, the sampler that a
 * fresh version has; then beside PyTorch. With `large` a model of published sizes alone.
 */
export async function measureModel(options: PartOptions): Promise<PartMeasurement> {
  const { threads } = options;
  if (options.large !== null) return { figures: await measureLarge(options, options.large) };
  const engine = await Engine.start({ threads, name: 'bench' });
  const base = loadBase(await readFile(baseWeightsUrl('nano')));
  const policy = await freshPolicy(engine, base, trio);
  const runtime = await PolicyRuntime.create({ engine, base });
  const handle = await runtime.load(policy);
  const { width, height } = imageSize(trio.spec);
  const row = (seed: number): ActRow => ({
    policy: handle,
    images: Object.fromEntries(
      trio.spec.cameras.map(({ name }) => [name, noise(width * height * 3, seed)]),
    ),
    instruction: 'move to the red object',
    state: Float32Array.from(policy.manifest.normalisation.state.mean),
    seed,
  });
  const figures: Figure[] = [
    { name: 'matrix product', value: await matmulRate(engine), unit: 'GFLOP/s' },
  ];
  for (const batch of BATCHES) {
    const rows = Array.from({ length: batch }, (_, index) => row(index));
    const ways = {
      'without reasoning': () => runtime.act(rows),
      'with reasoning': () => runtime.reasonAndAct(rows),
    };
    for (const [way, act] of Object.entries(ways)) {
      const times = await timed(CALLS[batch], 3, act);
      const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
      const name = `act, batch ${batch}, ${way}`;
      figures.push(...latencyFigures(name, times), {
        name,
        value: (batch * 1000) / mean,
        unit: 'chunks/s',
      });
    }
  }
  figures.push(...(await trunks(runtime, base, policy, row(1))));
  const { steps } = policy.manifest.sampler;
  figures.push({ name: 'sampler', value: steps, unit: 'steps' });
  await runtime.close();
  const limits = await againstLimits(engine, base, options.quick);
  const tokens = await costOfTokens(engine, base, options.quick);
  const changes = await whatChangesBring(engine, base, options.quick);
  const compared = await againstPytorch(engine, base, options);
  await engine.close();
  return {
    figures: [
      ...figures,
      ...limits.figures,
      ...tokens.figures,
      ...changes.figures,
      ...compared.figures,
    ],
    summary: {
      ratios: compared.ratios,
      share_of_limit: limits.ratios,
      cost_of_views: tokens.ratios,
      changes: changes.ratios,
    },
  };
}

/**
 * One robot whose trunk is the base's, which lies packed in its graph, and one that brings its own,
 * whose weights are inputs; by turns, so that a busy machine slows both.
 */
async function trunks(
  runtime: PolicyRuntime,
  base: BaseModel,
  { manifest, files }: FinishedPolicy,
  row: ActRow,
): Promise<Figure[]> {
  const weightOf = (name: string): Float32Array => base.trunk.get(name) ?? new Float32Array();
  const own = await runtime.load({
    digest: 'a trunk of its own',
    manifest: { ...manifest, mode: 'full' },
    files: { ...files, 'trunk.safetensors': writeWeights(base.trunkSpecs, weightOf, 'F32', {}) },
  });
  const figures: Figure[] = [];
  for (const steps of [10, 5]) {
    const sampler = { steps, noise_scale: 1 };
    const times = { packed: [] as number[], 'as inputs': [] as number[] };
    for (let turn = 0; turn < TURNS; turn++) {
      times.packed.push(
        ...(await timed(CALLS_A_TURN, 1, () => runtime.act([{ ...row, sampler }]))),
      );
      const brought = { ...row, sampler, policy: own };
      times['as inputs'].push(...(await timed(CALLS_A_TURN, 1, () => runtime.act([brought]))));
    }
    for (const [way, taken] of Object.entries(times)) {
      figures.push(...latencyFigures(`act, batch 1, ${steps} steps, trunk ${way}`, taken));
    }
  }
  return figures;
}

/** Pictures that no two rows share, without a random source. */
function noise(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => ((i + 1) * (seed * 31 + 17)) % 256);
}
