import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine } from '../engine/index.ts';
import {
  plainStats,
  shippedBase,
  smallEpisodes,
  smallSpec,
} from '../../test/support/small-policy.ts';
import { Finetune, FinetuneError } from './finetune.ts';
import { resolveOptions, type ResolvedFinetuneOptions } from './options.ts';

const base = shippedBase();
let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 2 });
});
afterAll(async () => {
  await engine.close();
});

const spec = smallSpec(3, { reference: 'last_command' });
const names = spec.action.map((joint) => joint.name);
const stats = { state: plainStats(names), action: plainStats(names) };

function options(mode: 'head' | 'policy' | 'full'): ResolvedFinetuneOptions {
  const resolved = resolveOptions({
    mode,
    steps: 6,
    batch_size: 8,
    seed: 3,
    images: 'use',
    labels: 'none',
  });
  return { ...resolved, draws: 1, spoken: mode === 'full' ? 2 : 0 };
}

async function start(mode: 'head' | 'policy' | 'full', resume?: Uint8Array): Promise<Finetune> {
  return Finetune.create({
    engine,
    base,
    spec,
    stats,
    episodes: smallEpisodes(spec, 3),
    options: options(mode),
    ...(resume === undefined ? {} : { resume }),
  });
}

describe.each(['head', 'policy', 'full'] as const)('fine-tuning in mode %s', (mode) => {
  it('resumed from a checkpoint gives the same bytes as uninterrupted', async () => {
    const whole = await start(mode);
    const losses: number[] = [];
    let halfway: Uint8Array | undefined;
    for (let i = 0; i < 6; i++) {
      if (i === 3) halfway = await whole.checkpoint();
      losses.push((await whole.step()).loss);
    }
    const expected = await whole.finish();
    await whole.close();

    const resumed = await start(mode, halfway);
    expect(resumed.stepIndex).toBe(3);
    const again: number[] = [];
    while (resumed.stepIndex < resumed.totalSteps) again.push((await resumed.step()).loss);
    const got = await resumed.finish();
    await resumed.close();

    expect(again).toEqual(losses.slice(3));
    expect(got.digest).toBe(expected.digest);
    expect(losses.every(Number.isFinite)).toBe(true);
    expect(Object.keys(got.files).includes('trunk.safetensors')).toBe(mode !== 'head');
  });
});

describe('a fine-tune that cannot start', () => {
  it('names the field: no episodes, another dimension, a foreign checkpoint', async () => {
    const common = { engine, base, spec, stats, options: options('head') };
    await expect(Finetune.create({ ...common, episodes: [] })).rejects.toMatchObject({
      field: 'dataset_id',
    });
    const [episode] = smallEpisodes(smallSpec(2), 1);
    if (episode === undefined) throw new RangeError('no episode');
    await expect(Finetune.create({ ...common, episodes: [episode] })).rejects.toMatchObject({
      field: 'embodiment.spec.state',
    });
    const other = await start('policy');
    const foreign = await other.checkpoint();
    await other.close();
    await expect(start('head', foreign)).rejects.toBeInstanceOf(FinetuneError);
  });
});
