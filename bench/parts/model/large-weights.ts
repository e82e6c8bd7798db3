import { open } from 'node:fs/promises';
import { seeded } from '@armature/policy/data';
import type { StoredPart, StoredWeight } from '@armature/policy/export';
import { toHalf, type ExternalData } from '@armature/policy/tensor';

/** Values that a file repeats: speed does not hang on them, and making billions takes minutes. */
const PATTERN = 2 ** 20;
/** Size of a weight: small, so that nothing of many layers overflows. */
const SPREAD = 0.02;

/** Writes a data file of random weights with norms of one: what a model of those sizes takes, not what it says. */
export async function writeRandomWeights(
  file: string,
  weights: readonly StoredWeight[],
  places: ReadonlyMap<string, ExternalData>,
): Promise<void> {
  const random = seeded(5);
  const values = Float32Array.from({ length: PATTERN }, () => SPREAD * (2 * random.uniform() - 1));
  const halves = Uint16Array.from(values, toHalf);
  const bytes = Uint8Array.from({ length: PATTERN }, () => random.integer(256));
  const handle = await open(file, 'wx');
  try {
    for (const part of weights.flatMap(({ parts }) => [...parts])) {
      const place = places.get(part.name);
      if (place === undefined) throw new RangeError(`${part.name} has no place`);
      const source = sourceOf(part, { values, halves, bytes });
      for (let at = 0; at < place.length; at += source.byteLength) {
        const length = Math.min(source.byteLength, place.length - at);
        await handle.write(source, 0, length, place.offset + at);
      }
    }
  } finally {
    await handle.close();
  }
}

function sourceOf(
  { name, dtype, shape }: StoredPart,
  pattern: { values: Float32Array; halves: Uint16Array; bytes: Uint8Array },
): Uint8Array {
  const raw = (data: Float32Array | Uint16Array): Uint8Array =>
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (dtype === 'uint8' || dtype === 'int8') return pattern.bytes;
  if (name.endsWith('.scales')) {
    const scale = SPREAD / 128;
    const count = shape[0] ?? 1;
    return raw(
      dtype === 'float16'
        ? new Uint16Array(count).fill(toHalf(scale))
        : new Float32Array(count).fill(scale),
    );
  }
  if (shape.length === 1) {
    return raw(new Float32Array(shape[0] ?? 1).fill(name.endsWith('.weight') ? 1 : 0));
  }
  return raw(dtype === 'float16' ? pattern.halves : pattern.values);
}
