import type { EmbodimentSpec, FinetuneMode } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  plainStats,
  shippedBase,
  smallEpisodes,
  smallSpec,
} from '../../test/support/small-policy.ts';
import { seeded } from '../data/index.ts';
import { Engine, type Value, type Values } from '../engine/index.ts';
import { TRUNK_LORA, trunkPairs } from '../lora/index.ts';
import { flatLayout, unpackFlat } from '../nn/flat.ts';
import { elements, initialValues, type ParamSpec } from '../nn/params.ts';
import { PolicyRuntime, type ActRow } from '../runtime/index.ts';
import type { TrainingEpisode } from './episodes.ts';
import { Finetune } from './finetune.ts';
import type { FinetuneMember, FinishedPolicy } from './finetune-input.ts';
import { trainGraph, type TrainGraphOptions } from './graph.ts';
import { joined, shareOf } from './mixture.ts';
import { resolveOptions, type ResolvedFinetuneOptions } from './options.ts';
import { TrainSession } from './session.ts';

const base = shippedBase();
let engine: Engine;
beforeAll(async () => {
  engine = await Engine.start({ threads: 1, spin: false });
});
afterAll(() => engine.close());

describe('a batch of several embodiments', () => {
  const [SLOTS, ROWS, DRAWS, HORIZON] = [2, 3, 2, 16];
  type From = 'features' | 'images';

  const specsOf = (from: From, slots: number): ParamSpec[] => [
    ...(from === 'features'
      ? base.trunkSpecs.filter(({ name }) => name.startsWith('trunk.decoder.'))
      : trunkPairs(TRUNK_LORA, base.trunkSpecs).map((spec) => ({
          ...spec,
          shape: [1, ...spec.shape],
        }))),
    ...base.headSpecs.map((spec) => ({ ...spec, shape: [slots, ...spec.shape] })),
  ];

  const graphOf = (from: From, slots: number): TrainGraphOptions => ({
    config: base.config,
    signature: { external: 1, wrist: 0, width: 64, height: 64, horizon: HORIZON },
    pictures: ROWS * slots,
    instructions: 1,
    draws: DRAWS,
    prefixed: false,
    spoken: from === 'images' ? 1 : 0,
    slots,
    passes: 1,
    from,
    trainable: flatLayout(specsOf(from, slots)),
    ...(from === 'images' ? { lora: TRUNK_LORA } : {}),
    reasoningWeight: 0.5,
    groundingWeight: 0,
    // Nothing is clipped, so that the first moments are the gradient itself.
    optimiser: { beta1: 0.9, beta2: 0.98, eps: 1e-8, clip: 1e9, weightDecay: 0 },
  });

  const STATE = /^(trunk\.|head\.|theta|m$|v$|ema|decay|learning_rate|correction)/;

  /** Rows of one embodiment; where the model reads pictures, as much is scored of each. */
  function solo(from: From, slot: number): Values {
    const random = seeded(8, slot);
    const given = trainGraph(graphOf(from, 1)).inputs.filter(({ name }) => !STATE.test(name));
    return Object.fromEntries(
      given.map(({ name, tensor: { shape, dtype } }) => {
        const next = (): number => {
          if (name === 'keep') return from === 'images' ? 1 : random.integer(2 + slot);
          if (/mask|present/.test(name)) return 1;
          return dtype === 'float32' ? random.uniform() : random.integer(256);
        };
        const numbers = Array.from({ length: elements(shape) }, next);
        const data =
          dtype === 'int64'
            ? BigInt64Array.from(numbers, BigInt)
            : dtype === 'uint8'
              ? Uint8Array.from(numbers)
              : Float32Array.from(numbers);
        return [name, { dtype, shape, data } satisfies Value];
      }),
    );
  }

  const headOf = (name: string, slot: number): Float32Array | undefined => {
    const spec = base.headSpecs.find((one) => one.name === name);
    return spec && initialValues(spec, 20 + slot);
  };
  const pairs = new Map(
    trunkPairs(TRUNK_LORA, base.trunkSpecs).map((spec) => [
      spec.name,
      initialValues({ ...spec, init: { kind: 'normal', std: 0.05 } }, 3),
    ]),
  );

  /** The gradient of a step by parameter, heads of `slots`, and the loss. */
  async function gradient(from: From, slots: readonly number[], batch: Values) {
    const options = graphOf(from, slots.length);
    const session = await TrainSession.create({
      engine,
      id: 'mixture',
      options,
      settings: { peakRate: 1e-3, warmup: 1, totalSteps: 4, rateFloor: 0.02, emaDecay: 0.9 },
      weights: (name) =>
        base.trunk.get(name) ??
        pairs.get(name) ??
        Float32Array.from(slots.flatMap((slot) => Array.from(headOf(name, slot) ?? []))),
    });
    const { loss } = await session.step(batch);
    const { m } = await session.state();
    await session.close();
    return { loss, slopes: unpackFlat(options.trainable, m) };
  }

  const sum = (values: Values): number =>
    Array.from(values['keep']?.data ?? [], Number).reduce((a, b) => a + b, 0);

  it.each(['features', 'images'] as const)(
    'has the gradient of its embodiments by themselves, each for what is scored of it (%s)',
    async (from) => {
      const alone = Array.from({ length: SLOTS }, (_, slot) => solo(from, slot));
      const scored = alone.map(sum);
      const shares = scored.map((count) => count / scored.reduce((a, b) => a + b));
      const mixed = await gradient(from, [0, 1], joined(alone));
      const solos = [];
      for (const [slot, batch] of alone.entries()) solos.push(await gradient(from, [slot], batch));
      const expected = solos.reduce((all, { loss }, i) => all + loss * (shares[i] ?? NaN), 0);
      expect(mixed.loss / expected).toBeCloseTo(1, 5);
      for (const [name, slope] of mixed.slopes) {
        const parts = solos.map(({ slopes }) => slopes.get(name) ?? new Float32Array());
        const weighed = parts.map((part, i) => part.map((value) => value * (shares[i] ?? NaN)));
        const wanted = name.startsWith('head.')
          ? Float32Array.from(weighed.flatMap((part) => Array.from(part)))
          : slope.map((_, k) => weighed.reduce((all, part) => all + (part[k] ?? NaN), 0));
        const largest = (values: Float32Array): number =>
          values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const most = Math.max(largest(wanted), 1e-9);
        const far = largest(slope.map((value, k) => value - (wanted[k] ?? NaN)));
        expect(far / most, name).toBeLessThan(2e-4);
      }
    },
  );
});

const specs = [
  smallSpec(3, { reference: 'last_command' }),
  smallSpec(2, { reference: 'state' }),
] as const;

function member(spec: EmbodimentSpec, episodes = smallEpisodes(spec, 3)): FinetuneMember {
  const names = spec.action.map((joint) => joint.name);
  return { spec, stats: { state: plainStats(names), action: plainStats(names) }, episodes };
}

function optionsOf(mode: FinetuneMode, more: object = {}): ResolvedFinetuneOptions {
  const told = { mode, steps: 4, batch_size: 8, seed: 3, images: 'use', labels: 'none' } as const;
  return { ...resolveOptions({ ...told, ...more }), draws: 1 };
}

async function stepAll(job: Finetune): Promise<number[]> {
  const losses: number[] = [];
  while (job.stepIndex < job.totalSteps) losses.push((await job.step()).loss);
  return losses;
}

describe('a fine-tune of several embodiments', () => {
  const start = (mode: FinetuneMode, resume?: Uint8Array) =>
    Finetune.createMixed({
      engine,
      base,
      members: specs.map((spec) => member(spec)),
      options: optionsOf(mode, mode === 'policy' ? {} : { accumulate: 2 }),
      ...(resume === undefined ? {} : { resume }),
    });

  it.each(['policy', 'lora', 'full'] as const)(
    'gives a version each with one trunk, and resumes bit for bit (mode %s)',
    async (mode) => {
      const whole = await start(mode);
      const losses: number[] = [];
      let halfway: Uint8Array | undefined;
      while (whole.stepIndex < whole.totalSteps) {
        if (whole.stepIndex === 2) halfway = await whole.checkpoint();
        losses.push((await whole.step()).loss);
      }
      await expect(whole.finish()).rejects.toThrow(RangeError);
      const versions = await whole.finishAll();
      await whole.close();
      const resumed = await start(mode, halfway);
      expect(await stepAll(resumed)).toEqual(losses.slice(2));
      const again = await resumed.finishAll();
      await resumed.close();
      expect(again.map(({ digest }) => digest)).toEqual(versions.map(({ digest }) => digest));

      expect(versions.map(({ manifest }) => manifest.spec)).toEqual(specs);
      const file = mode === 'lora' ? 'lora.safetensors' : 'trunk.safetensors';
      const digestsOf = (name: string) =>
        new Set(versions.map(({ manifest }) => manifest.files[name]?.sha256));
      expect(digestsOf(file).size).toBe(1);
      expect(digestsOf('head.safetensors').size).toBe(2);
    },
  );

  it('lets the first draw as it would alone, and the others otherwise', () => {
    const whole = optionsOf('policy');
    const [first, second] = [shareOf(whole, 2, 0), shareOf(whole, 2, 1)];
    expect(first).toEqual({ ...whole, batchSize: 4 });
    expect(second.seed).not.toBe(first.seed);
    const full = optionsOf('full', { batch_size: 48, accumulate: 2 });
    expect(shareOf(full, 3, 0)).toMatchObject({ batchSize: 16, spoken: 4 });
  });

  it('teaches each its own motion, as held-out episodes of each tell', async () => {
    const members = specs.map((spec, i) => {
      const all = towards(spec, [0.8, -0.6][i] ?? NaN, 8);
      return { own: member(spec, all.slice(0, 6)), heldout: all.slice(6) };
    });
    const trained = async (steps: number): Promise<FinishedPolicy[]> => {
      const job = await Finetune.createMixed({
        engine,
        base,
        members: members.map(({ own }) => own),
        options: optionsOf('policy', { steps, batch_size: 32, learning_rate: 3e-3 }),
      });
      await stepAll(job);
      const versions = await job.finishAll();
      await job.close();
      return versions;
    };
    const [fresh, taught] = [await trained(0), await trained(60)];
    for (const [i, { heldout }] of members.entries()) {
      const before = await heldOutError(fresh[i], heldout);
      const after = await heldOutError(taught[i], heldout);
      expect(after, specs[i]?.name).toBeLessThan(before / 5);
    }
  });

  it('is refused by field', async () => {
    const go = (members: readonly FinetuneMember[], options = optionsOf('policy')) =>
      Finetune.createMixed({ engine, base, members, options });
    const both = specs.map((spec) => member(spec));
    await expect(go(both.slice(1))).rejects.toMatchObject({ field: 'members' });
    await expect(go(both, optionsOf('head'))).rejects.toMatchObject({ field: 'options.mode' });
    const wrist = member(smallSpec(2, { wrist: true }));
    await expect(
      go([...both, wrist], optionsOf('policy', { batch_size: 6 })),
    ).rejects.toMatchObject({ field: 'members.2.embodiment.spec' });
    await expect(go(both, optionsOf('policy', { batch_size: 7 }))).rejects.toThrow(
      'a batch of 7 samples does not divide among 2 embodiments: use 8',
    );
    const other = { ...member(specs[1]), episodes: smallEpisodes(specs[0], 2) };
    await expect(go([member(specs[0]), other])).rejects.toMatchObject({
      field: 'members.1.embodiment.spec.state',
    });
  });
});

/** Episodes whose joints near a goal from wherever they begin. */
function towards(spec: EmbodimentSpec, goal: number, count: number): TrainingEpisode[] {
  return smallEpisodes(spec, count).map((episode) => {
    const width = spec.action.length;
    const state = episode.state.slice();
    const action = episode.action.slice();
    for (let i = 0; i < action.length; i++) {
      action[i] = (state[i] ?? NaN) + 0.25 * (goal - (state[i] ?? NaN));
      if (i + width < state.length) state[i + width] = action[i] ?? NaN;
    }
    return { ...episode, state, action };
  });
}

/** Mean squared error of the first chunks of episodes. */
async function heldOutError(
  version: FinishedPolicy | undefined,
  episodes: readonly TrainingEpisode[],
): Promise<number> {
  if (version === undefined) throw new RangeError('there is no version');
  const runtime = await PolicyRuntime.create({ engine, base, buckets: [1], slots: 1 });
  const policy = await runtime.load(version);
  const width = version.manifest.spec.action.length;
  let [total, count] = [0, 0];
  for (const { image, instruction, state, action } of episodes) {
    for (const t of [1, 4, 7]) {
      const row: ActRow = {
        policy,
        images: { top: image('top', t) },
        instruction,
        state: state.slice(t * width, (t + 1) * width),
        lastCommand: action.slice((t - 1) * width, t * width),
        seed: t,
        sampler: { steps: 5, noise_scale: 0 },
      };
      const [answer] = await runtime.act([row]);
      answer?.actions.forEach((value, i) => {
        total += (value - (action[t * width + i] ?? NaN)) ** 2;
        count += 1;
      });
    }
  }
  await runtime.close();
  return total / count;
}
