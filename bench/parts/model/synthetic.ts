import { type DivlaConfig, MAX_STEPS, alphasCumprod, samplerTable } from '@armature/policy/divla';
import { seeded } from '@armature/policy/data';
import type { Value, Values } from '@armature/policy/engine';
import type { Graph } from '@armature/policy/tensor';

const WORDS = 9;

/** Values for every input of a training or acting graph that is no weight: what a robot could send. */
export function syntheticInputs(
  graph: Graph,
  config: DivlaConfig,
  { actions, steps = MAX_STEPS }: { readonly actions: number; readonly steps?: number },
): Values {
  const known = /^(trunk|head|lora)\.|^(theta|m|v|ema|decay|learning_rate|correction\d|ema_decay)$/;
  const inputs = graph.inputs.filter(({ name }) => !known.test(name));
  return Object.fromEntries(
    inputs.map(({ name, tensor }) => [name, valueOf(name, tensor.shape, config, actions, steps)]),
  );
}

function valueOf(
  name: string,
  shape: readonly number[],
  config: DivlaConfig,
  actions: number,
  steps: number,
): Value {
  const size = shape.reduce((product, length) => product * length, 1);
  const last = shape.at(-1) ?? 1;
  const random = seeded(9, ...Array.from(name, (letter) => letter.charCodeAt(0)));
  const f32 = (value: (i: number) => number): Value => ({
    dtype: 'float32',
    shape,
    data: Float32Array.from({ length: size }, (_, i) => value(i)),
  });
  const ids = (value: (i: number) => number): Value => ({
    dtype: 'int64',
    shape,
    data: BigInt64Array.from({ length: size }, (_, i) => BigInt(value(i))),
  });
  const spoken = (i: number): boolean => i % last < WORDS;
  switch (name) {
    case 'images':
      return {
        dtype: 'uint8',
        shape,
        data: Uint8Array.from({ length: size }, () => random.integer(256)),
      };
    case 'tokens':
    case 'said':
      return ids((i) => (spoken(i) ? 3 + random.integer(config.language.vocabulary - 3) : 0));
    case 'labels':
      return ids((i) => (spoken(i) ? 3 + random.integer(config.language.vocabulary - 3) : -100));
    case 'token_mask':
    case 'said_mask':
      return f32((i) => (spoken(i) ? 1 : 0));
    case 'present':
    case 'known':
      return f32(() => 1);
    case 'keep':
    case 'kept':
      return f32((i) => (i % last < actions ? 1 : 0));
    case 'levels': {
      const bars = alphasCumprod(config.diffusion.trainSteps);
      const t = Array.from({ length: size / 3 }, () => random.integer(bars.length));
      const level = (at: number): number => bars[t[at] ?? NaN] ?? NaN;
      const columns = [
        (at: number) => t[at] ?? NaN,
        (at: number) => Math.sqrt(level(at)),
        (at: number) => Math.sqrt(1 - level(at)),
      ];
      return f32((i) => columns[i % 3]?.(Math.floor(i / 3)) ?? NaN);
    }
    case 'table':
      return {
        dtype: 'float32',
        shape,
        data: samplerTable(steps, config.diffusion.trainSteps, MAX_STEPS),
      };
    case 'steps':
      return ids(() => steps);
    case 'slot':
      return ids(() => 0);
    case 'previous':
    case 'previous_weight':
    case 'previous_given':
      return f32(() => 0);
    case 'state':
    case 'command':
    case 'clean':
    case 'noise':
      return f32((i) => (i % last < actions ? random.normal() / 2 : 0));
    case 'summary':
    case 'reasoning':
      return f32(() => random.normal() / 2);
    default:
      throw new RangeError(`nothing is known of the input ${name}`);
  }
}
