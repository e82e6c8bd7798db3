import type { FinetuneMode } from '@armature/sdk/contract';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  plainStats,
  shippedBase,
  smallEpisodes,
  smallSpec,
} from '../../test/support/small-policy.ts';
import { readSafetensors, readWeights, toFloat32 } from '../checkpoint/index.ts';
import { Engine } from '../engine/index.ts';
import { TRUNK_LORA, trunkPairs } from '../lora/index.ts';
import type { ParamSpec } from '../nn/params.ts';
import { Finetune } from './finetune.ts';
import { resolveOptions } from './options.ts';

const base = shippedBase();
const spec = smallSpec(3);
const names = spec.action.map((joint) => joint.name);
let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, name: 'averaged' });
});
afterAll(() => engine.close());

const decoder = base.trunkSpecs.filter(({ name }) => name.startsWith('trunk.decoder.'));
/** What moves, by the file of the version that it is in. */
const moving: Readonly<
  Record<
    string,
    Readonly<Record<string, { all: readonly ParamSpec[]; moves: readonly ParamSpec[] }>>
  >
> = {
  head: {},
  policy: { 'trunk.safetensors': { all: base.trunkSpecs, moves: decoder } },
  lora: ((pairs) => ({ 'lora.safetensors': { all: pairs, moves: pairs } }))(
    trunkPairs(TRUNK_LORA, base.trunkSpecs),
  ),
};

it.each(['head', 'policy', 'lora'] as const satisfies readonly FinetuneMode[])(
  'a version of mode %s has the average of the weights that its steps made, not the last',
  async (mode) => {
    const asked = {
      mode,
      steps: 7,
      batch_size: 4,
      seed: 3,
      images: 'use',
      labels: 'none',
    } as const;
    const options = { ...resolveOptions(asked), emaDecay: 0.3, learningRate: 0.01, spoken: 0 };
    const finetune = await Finetune.create({
      engine,
      base,
      spec,
      stats: { state: plainStats(names), action: plainStats(names) },
      episodes: smallEpisodes(spec, 2),
      options,
    });
    const weights = async (): Promise<Float32Array> => {
      const theta = readSafetensors(await finetune.checkpoint()).tensors.get('theta');
      return theta === undefined ? new Float32Array() : toFloat32(theta);
    };
    let last = await weights();
    const average = Float64Array.from(last);
    for (let step = 0; step < 7; step++) {
      await finetune.step();
      last = await weights();
      // The decay of the average rises from a tenth to what is asked for: 1/10, 2/11, 3/12, 0.3, …
      const kept = [1 / 10, 2 / 11, 3 / 12][step] ?? 0.3;
      last.forEach((weight, i) => {
        average[i] = kept * (average[i] ?? NaN) + (1 - kept) * weight;
      });
    }
    const { files } = await finetune.finish();
    await finetune.close();

    let at = 0;
    let [off, apart] = [0, 0];
    const parts = {
      ...moving[mode],
      'head.safetensors': { all: base.headSpecs, moves: base.headSpecs },
    };
    for (const [file, { all, moves }] of Object.entries(parts)) {
      const packed = readWeights(all, files[file] ?? new Uint8Array()).weights;
      for (const { name } of moves) {
        for (const weight of packed.get(name) ?? []) {
          off = Math.max(off, Math.abs(weight - (average[at] ?? NaN)));
          apart = Math.max(apart, Math.abs(weight - (last[at] ?? NaN)));
          at += 1;
        }
      }
      for (const { name } of all) {
        if (moves.some((other) => other.name === name)) continue;
        expect(
          packed.get(name)?.every((w, i) => w === base.trunk.get(name)?.[i]),
          name,
        ).toBe(true);
      }
    }
    expect(at).toBe(average.length);
    expect(off).toBeLessThan(1e-6);
    expect(apart).toBeGreaterThan(1e-4);
  },
);
