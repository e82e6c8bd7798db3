import type { FinetuneMode } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readWeights } from '../checkpoint/index.ts';
import { Engine } from '../engine/index.ts';
import { TRUNK_LORA, trunkPairs } from '../lora/index.ts';
import {
  plainStats,
  shippedBase,
  smallEpisodes,
  smallSpec,
} from '../../test/support/small-policy.ts';
import type { TrainingEpisode } from './episodes.ts';
import { Finetune } from './finetune.ts';
import { FinetuneError, type FinishedPolicy } from './finetune-input.ts';
import { resolveOptions, trainsOnPictures, type ResolvedFinetuneOptions } from './options.ts';

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

function options(mode: FinetuneMode): ResolvedFinetuneOptions {
  const resolved = resolveOptions({
    mode,
    steps: 6,
    batch_size: 8,
    seed: 3,
    images: 'use',
    labels: 'none',
  });
  const spoken = trainsOnPictures(mode) ? 2 : 0;
  // In two shares where it sees pictures, so that a resumed job also goes on between gradients that add up.
  const passes = trainsOnPictures(mode) ? 2 : 1;
  const changes = trainsOnPictures(mode) ? { crop: 0.2, colour: 0.3 } : {};
  const augment = { ...resolved.augment, ...changes };
  return { ...resolved, draws: 1, prefixDelayMax: 4, spoken, passes, augment };
}

async function start(mode: FinetuneMode, resume?: Uint8Array): Promise<Finetune> {
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

describe.each(['head', 'policy', 'lora', 'full'] as const)('fine-tuning in mode %s', (mode) => {
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
    expect(got.manifest.prefix_delay_max).toBe(4);
    const beside = { head: [], policy: ['trunk'], lora: ['lora'], full: ['trunk'] }[mode];
    const names = ['head', ...beside].map((name) => `${name}.safetensors`);
    expect(Object.keys(got.files)).toEqual(names);
  });
});

describe('velocities as an input', () => {
  const made = async (reference: 'state' | 'last_command', velocity: 'use' | 'ignore') => {
    const own = smallSpec(3, { reference });
    const finetune = await Finetune.create({
      engine,
      base,
      spec: own,
      stats,
      episodes: smallEpisodes(own, 3),
      options: { ...options('full'), steps: 2, velocity },
    });
    const losses: number[] = [];
    while (finetune.stepIndex < finetune.totalSteps) losses.push((await finetune.step()).loss);
    const policy = await finetune.finish();
    await finetune.close();
    return { velocity: policy.manifest.normalisation.velocity, losses };
  };

  it('change what is learnt, unless the last command tells', async () => {
    const without = await made('state', 'ignore');
    const reads = await made('state', 'use');
    const commanded = await made('last_command', 'use');
    expect(without.velocity).toBeUndefined();
    expect(commanded.velocity).toBeUndefined();
    expect(reads.velocity).toHaveLength(3);
    expect(reads.losses[0]).not.toBe(without.losses[0]);
  });

  it('need an episode of more than half a chunk', async () => {
    const own = smallSpec(3, { reference: 'state' });
    const episodes = smallEpisodes(own, 2, own.horizon / 2);
    await expect(
      Finetune.create({ engine, base, spec: own, stats, episodes, options: options('full') }),
    ).rejects.toMatchObject({ field: 'options.velocity' });
  });

  it('are read in mode full unless told otherwise', () => {
    const of = (mode: 'head' | 'policy' | 'full', velocity?: 'use' | 'ignore') =>
      resolveOptions({ mode, seed: 0, images: 'use', labels: 'none', velocity }).velocity;
    expect([of('head'), of('policy'), of('full')]).toEqual(['ignore', 'ignore', 'use']);
    expect([of('head', 'use'), of('full', 'ignore')]).toEqual(['use', 'ignore']);
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
    const [good] = smallEpisodes(spec, 1);
    if (good === undefined) throw new RangeError('no episode');
    const holed = good.action.slice();
    holed[2 * names.length + 1] = NaN;
    await expect(
      Finetune.create({ ...common, episodes: [{ ...good, action: holed }] }),
    ).rejects.toMatchObject({
      field: 'dataset_id',
      message: `episode ${good.index}, frame 2: action ${names[1] ?? ''} is NaN, not a finite number`,
    });
    const none = { ...good, length: 0, state: new Float32Array(), action: new Float32Array() };
    await expect(Finetune.create({ ...common, episodes: [good, none] })).rejects.toMatchObject({
      field: 'dataset_id',
    });
    const tooLong = { ...common.options, prefixDelayMax: 9 };
    await expect(
      Finetune.create({ ...common, options: tooLong, episodes: smallEpisodes(spec, 1) }),
    ).rejects.toMatchObject({ field: 'options.prefix_delay_max' });
    for (const [field, strength] of [
      ['crop', 'random_crop'],
      ['colour', 'colour_jitter'],
    ] as const) {
      const augment = { ...common.options.augment, [field]: 0.1 };
      const asked = { ...common, options: { ...common.options, augment } };
      const made = Finetune.create({ ...asked, episodes: smallEpisodes(spec, 1) });
      await expect(made).rejects.toMatchObject({ field: `options.${strength}` });
    }
    const other = await start('policy');
    const foreign = await other.checkpoint();
    await other.close();
    await expect(start('head', foreign)).rejects.toBeInstanceOf(FinetuneError);
  });
});

describe('going on from a version', () => {
  const FIELD = { field: 'options.base_policy_version_id' };
  const finished = (mode: FinetuneMode, steps: number): Promise<FinishedPolicy> =>
    trained({ mode, steps });

  async function trained(o: {
    mode: FinetuneMode;
    steps: number;
    from?: FinishedPolicy;
    episodes?: TrainingEpisode[];
    losses?: number[];
  }): Promise<FinishedPolicy> {
    const job = await Finetune.create({
      engine,
      base,
      spec,
      stats,
      episodes: o.episodes ?? smallEpisodes(spec, 3),
      options: { ...options(o.mode), steps: o.steps },
      ...(o.from === undefined ? {} : { from: o.from }),
    });
    while (job.stepIndex < job.totalSteps) {
      const { loss } = await job.step();
      o.losses?.push(loss);
    }
    const made = await job.finish();
    await job.close();
    return made;
  }

  it.each(['head', 'lora', 'full'] as const)(
    'has its weights and figures, in mode %s',
    async (mode) => {
      const first = await trained({ mode, steps: 6, losses: [] });
      const same = await trained({ mode, steps: 0, from: first });
      expect(same.manifest.continues).toBe(first.digest);
      expect(same.manifest.files).toEqual(first.manifest.files);
      // Other motion within the same bounds: the statistics are the new set's, the figures are kept.
      const added = smallEpisodes(spec, 4).slice(1);
      const next = await trained({ mode, steps: 2, from: first, episodes: added, losses: [] });
      expect(next.manifest.normalisation).toEqual(first.manifest.normalisation);
      expect(next.manifest.files).not.toEqual(first.manifest.files);
    },
  );

  it('starts where the version ended, not where the base began', async () => {
    const losses: number[] = [];
    const first = await trained({ mode: 'head', steps: 60, losses });
    const on: number[] = [];
    await trained({ mode: 'head', steps: 1, from: first, losses: on });
    expect(on[0]).toBeLessThan((losses[0] ?? 0) * 0.9);
  });

  it('takes a head into mode policy, and refuses what would not keep the version', async () => {
    const head = await finished('head', 0);
    const wider = await trained({ mode: 'policy', steps: 1, from: head, losses: [] });
    expect(wider.manifest).toMatchObject({ mode: 'policy', continues: head.digest });
    const go = (from: FinishedPolicy, episodes = smallEpisodes(spec, 3)) =>
      trained({ mode: 'head', steps: 1, from, episodes });
    await expect(go(wider)).rejects.toMatchObject(FIELD);
    const other = { ...head, manifest: { ...head.manifest, base_digest: '0'.repeat(64) } };
    await expect(go(other)).rejects.toMatchObject(FIELD);
    const pairs = await trained({ mode: 'lora', steps: 1, from: head });
    await expect(go(pairs)).rejects.toMatchObject(FIELD);
    const beside = trained({ mode: 'lora', steps: 1, from: wider });
    await expect(beside).rejects.toThrow(/mode policy moved more than mode lora keeps/);
    const eyes = { ...head, manifest: { ...head.manifest, preprocess_hash: 'older' } };
    await expect(go(eyes)).rejects.toMatchObject(FIELD);
    const arm = { ...head, manifest: { ...head.manifest, spec: smallSpec(3) } };
    await expect(go(arm)).rejects.toMatchObject(FIELD);
    const far = smallEpisodes(spec, 3).map((episode) => ({
      ...episode,
      state: episode.state.map((value) => value + 50),
    }));
    await expect(go(head, far)).rejects.toThrow(/100\.0 % of state joint_\d lies outside/);
  });

  it('takes low-rank pairs into the trunk that mode full moves', async () => {
    const pairs = await trained({ mode: 'lora', steps: 6 });
    const merged = await trained({ mode: 'full', steps: 0, from: pairs });
    const trunk = readWeights(base.trunkSpecs, merged.files['trunk.safetensors'] as Uint8Array);
    const moved = base.trunkSpecs
      .filter(({ name }) =>
        trunk.weights.get(name)?.some((w, i) => w !== base.trunk.get(name)?.[i]),
      )
      .map(({ name }) => name.replace(/\.weight$/, ''));
    const paired = trunkPairs(TRUNK_LORA, base.trunkSpecs)
      .map(({ name }) => /^lora\.(.*)\.lora_B$/.exec(name)?.[1])
      .filter((path) => path !== undefined);
    expect(moved).toEqual(paired);
    const other = { ...TRUNK_LORA, rank: 4 };
    const foreign = { ...pairs, manifest: { ...pairs.manifest, lora: other } };
    await expect(trained({ mode: 'lora', steps: 1, from: foreign })).rejects.toThrow(
      /another kind/,
    );
  });

  it('is another job than one from the base', async () => {
    const head = await finished('head', 0);
    const job = await start('head');
    await job.step();
    const checkpoint = await job.checkpoint();
    await job.close();
    const resumed = Finetune.create({
      engine,
      base,
      spec,
      stats,
      episodes: smallEpisodes(spec, 3),
      options: options('head'),
      from: head,
      resume: checkpoint,
    });
    await expect(resumed).rejects.toMatchObject({ field: 'resume' });
  });
});
