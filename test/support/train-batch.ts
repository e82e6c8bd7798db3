import { seeded } from '@armature/policy/data';
import type { Value } from '@armature/policy/engine';
import type { DType } from '@armature/policy/tensor';
import { trainGraph, type TrainGraphOptions } from '@armature/policy/train';

/** Random values of each input of a training graph, the same for every number of passes. */
export function drawnBatch(options: TrainGraphOptions): Record<string, Value> {
  const known = /^(trunk|head)\.|^(theta|m|v|ema|decay|learning_rate|correction\d|ema_decay)$/;
  const inputs = trainGraph(options).inputs.filter(({ name }) => !known.test(name));
  return Object.fromEntries(
    inputs.map(({ name, tensor: { shape, dtype } }) => [name, drawn(name, dtype, shape)]),
  );
}

function drawn(name: string, dtype: DType, shape: readonly number[]): Value {
  const random = seeded(4, ...Array.from(name, (letter) => letter.charCodeAt(0)));
  const length = shape.reduce((a, b) => a * b, 1);
  const each = <T>(value: (i: number) => T): T[] => Array.from({ length }, (_, i) => value(i));
  if (dtype === 'uint8') {
    return { dtype, shape, data: Uint8Array.from(each(() => random.integer(256))) };
  }
  if (dtype === 'int64') {
    const word = (i: number): number =>
      name === 'labels' && i % 7 === 3 ? -100 : 3 + random.integer(100);
    return { dtype, shape, data: BigInt64Array.from(each(word), BigInt) };
  }
  const level = (i: number): number => [random.integer(100), 0.8, 0.6][i % 3] ?? NaN;
  const either = /mask|present|visible|given|known/.test(name);
  const value = (i: number): number => {
    if (name === 'levels') return level(i);
    if (name === 'keep') return random.integer(3);
    return either ? random.integer(2) : random.normal();
  };
  return { dtype: 'float32', shape, data: Float32Array.from(each(value)) };
}
