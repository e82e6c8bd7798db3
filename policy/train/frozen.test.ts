import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  plainStats,
  shippedBase,
  smallEpisodes,
  smallSpec,
} from '../../test/support/small-policy.ts';
import { writeWeights } from '../checkpoint/index.ts';
import { quantiseTrunk } from '../divla/index.ts';
import { Engine } from '../engine/index.ts';
import { blockValues } from '../tensor/index.ts';
import { PolicyRuntime, type ActRow, type PolicyHandle } from '../runtime/index.ts';
import { signatureOf } from './episodes.ts';
import { computeFeatures, type QuantisedDifference } from './features.ts';
import { Finetune } from './finetune.ts';
import type { FinishedPolicy } from './finetune-input.ts';
import { resolveOptions, type ResolvedFinetuneOptions } from './options.ts';

const base = shippedBase();
const spec = smallSpec(3, { wrist: true });
const names = spec.action.map((joint) => joint.name);
const stats = { state: plainStats(names), action: plainStats(names) };
let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1 });
});
afterAll(() => engine.close());

function optionsOf(
  mode: 'head' | 'policy' | 'lora' | 'full',
  frozen_weights?: 'int8' | 'int4',
): ResolvedFinetuneOptions {
  const asked = { mode, steps: 3, batch_size: 4, learning_rate: 0.05 } as const;
  const rest = { seed: 3, images: 'use', labels: 'none' } as const;
  return resolveOptions({ ...asked, ...rest, frozen_weights });
}

async function tuned(
  options: ResolvedFinetuneOptions,
  more: Partial<Parameters<typeof Finetune.create>[0]> = {},
): Promise<{ version: FinishedPolicy; differences: QuantisedDifference[] }> {
  const differences: QuantisedDifference[] = [];
  const finetune = await Finetune.create({
    engine,
    base,
    spec,
    stats,
    episodes: smallEpisodes(spec, 2),
    options,
    onProgress: (progress) => {
      if (progress.phase === 'quantised') differences.push(progress);
    },
    ...more,
  });
  while (finetune.stepIndex < finetune.totalSteps) await finetune.step();
  const version = await finetune.finish();
  await finetune.close();
  return { version, differences };
}

function rowOf(policy: PolicyHandle, t: number): ActRow {
  const own = policy.manifest.spec;
  const [episode] = smallEpisodes(own, 1);
  if (episode === undefined) throw new RangeError('no episode');
  const width = own.state.length;
  return {
    policy,
    images: Object.fromEntries(own.cameras.map(({ name }) => [name, episode.image(name, t)])),
    instruction: 'reach the red disc',
    state: episode.state.slice(t * width, (t + 1) * width),
    seed: t,
    sampler: { steps: 4, noise_scale: 1 },
  };
}

const largest = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? NaN))), 0);

it('a version trained on int8 features says so, and is served with the same layers', async () => {
  const { version, differences } = await tuned(optionsOf('head', 'int8'));
  expect(version.manifest.frozen_weights).toBe('int8');
  const [off] = differences;
  expect(differences).toHaveLength(1);
  for (const share of [off?.weights, off?.views, off?.reasoning]) {
    expect(share).toBeGreaterThan(0);
    expect(share).toBeLessThan(0.05);
  }

  // The same version on float32 layers of the values that the blocks stand for: another way of computing it.
  const { layers } = quantiseTrunk(base.trunkSpecs, base.trunk, 'int8');
  const rounded = new Map(base.trunk);
  for (const [path, blocks] of layers) {
    // Looking tokens up is not rounded: only what multiplies is.
    if (path !== 'trunk.language.embed') rounded.set(`${path}.weight`, blockValues(blocks));
  }
  const served = await PolicyRuntime.create({ engine, base, buckets: [1, 2], slots: 1, name: 'a' });
  const other = await PolicyRuntime.create({
    engine,
    base: { ...base, trunk: rounded },
    buckets: [1],
    slots: 1,
    name: 'b',
  });
  const handle = await served.load(version);
  const { frozen_weights: _, ...float32 } = version.manifest;
  const reference = await other.load({ ...version, manifest: float32 });
  const rows = [0, 1].map((t) => rowOf(handle, t));
  const together = await served.act(rows);
  for (const [i, row] of rows.entries()) {
    const [alone] = await served.act([row]);
    const [expected] = await other.act([{ ...row, policy: reference }]);
    const actions = alone?.actions ?? new Float32Array();
    // What a row gives does not depend on the rows beside it.
    expect(largest(actions, together[i]?.actions ?? new Float32Array())).toBeLessThan(1e-4);
    expect(largest(actions, expected?.actions ?? new Float32Array())).toBeLessThan(0.05);
    expect(actions).not.toEqual(expected?.actions);
  }
  await served.close();
  await other.close();
});

it('a version of mode policy has the base’s layers in int8 and its own decoder', async () => {
  const { version } = await tuned(optionsOf('policy', 'int8'));
  const runtime = await PolicyRuntime.create({ engine, base, buckets: [2], slots: 2, name: 'g' });
  const handle = await runtime.load(version);
  const { trunkSpecs, trunk } = base;
  const before = (name: string): Float32Array => trunk.get(name) ?? new Float32Array();
  const untrained = await runtime.load({
    ...version,
    digest: 'the decoder as it was',
    files: { ...version.files, 'trunk.safetensors': writeWeights(trunkSpecs, before, 'F32', {}) },
  });
  expect(runtime.batchKey(handle)).not.toBe(runtime.batchKey(untrained));
  const [own] = await runtime.act([rowOf(handle, 0)]);
  const [other] = await runtime.act([rowOf(untrained, 0)]);
  expect(own?.actions.every(Number.isFinite)).toBe(true);
  expect(own?.actions).not.toEqual(other?.actions);
  await runtime.close();
});

it('features in training are those that serving has, in the form that training had them', async () => {
  const runtime = await PolicyRuntime.create({ engine, base, buckets: [1], slots: 1, name: 'c' });
  const [episode] = smallEpisodes(spec, 1);
  if (episode === undefined) throw new RangeError('no episode');
  const { version } = await tuned({ ...optionsOf('head', 'int4'), steps: 0 });
  const handle = await runtime.load(version);
  const [heard] = await runtime.reason([rowOf(handle, 5)]);
  if (heard === undefined) throw new RangeError('no reasoning');
  const labels = [{ from: 0, to: episode.length, text: heard.text, source: 'test' }];
  const common = {
    engine,
    config: base.config,
    signature: signatureOf(spec),
    spec,
    weights: base.trunk,
    specs: base.trunkSpecs,
    episodes: [{ ...episode, labels }],
    frames: [{ episode: 0, t: 5 }],
    blank: false,
  };
  const same = await computeFeatures({ ...common, form: 'int4' });
  const plain = await computeFeatures(common);
  const apart = largest(same.reasoning(0), heard.embedding);
  expect(apart).toBeLessThan(largest(plain.reasoning(0), heard.embedding) / 5);
  await runtime.close();
});

describe('what is refused', () => {
  it.each(['lora', 'full'] as const)('frozen layers in int8 in mode %s', async (mode) => {
    const options = { ...optionsOf(mode), frozenWeights: 'int8' } as const;
    await expect(tuned(options)).rejects.toMatchObject({ field: 'options.frozen_weights' });
    const { version } = await tuned({ ...optionsOf('head'), steps: 0 });
    const runtime = await PolicyRuntime.create({ engine, base, buckets: [1], slots: 1, name: 'd' });
    const manifest = { ...version.manifest, mode, frozen_weights: 'int8' } as const;
    await expect(runtime.load({ ...version, manifest })).rejects.toMatchObject({
      code: 'incompatible',
      field: 'frozen_weights',
    });
    await runtime.close();
  });

  it('to go on from a version in another form', async () => {
    const { version } = await tuned({ ...optionsOf('head', 'int8'), steps: 0 });
    for (const options of [optionsOf('policy'), optionsOf('policy', 'int4')]) {
      await expect(tuned(options, { from: version })).rejects.toMatchObject({
        field: 'options.base_policy_version_id',
      });
    }
    const same = { ...optionsOf('policy', 'int8'), steps: 0 };
    const { version: next } = await tuned(same, { from: version });
    expect(next.manifest).toMatchObject({ frozen_weights: 'int8', continues: version.digest });
  });

  it('another base, and a provider that computes them in another way', async () => {
    const { version } = await tuned({ ...optionsOf('policy', 'int8'), steps: 0 });
    const foreign = { ...base, digest: '0'.repeat(64) };
    const runtime = await PolicyRuntime.create({
      engine,
      base: foreign,
      buckets: [1],
      slots: 1,
      name: 'e',
    });
    await expect(runtime.load(version)).rejects.toMatchObject({ field: 'base_digest' });
    await runtime.close();
    const accelerated = Object.create(engine, { executionProvider: { value: 'cuda' } }) as Engine;
    await expect(tuned(optionsOf('head', 'int8'), { engine: accelerated })).rejects.toMatchObject({
      field: 'options.frozen_weights',
    });
    const there = await PolicyRuntime.create({
      engine: accelerated,
      base,
      buckets: [1],
      slots: 1,
      name: 'f',
    });
    await expect(there.load(version)).rejects.toMatchObject({ field: 'frozen_weights' });
    await there.close();
  });
});
