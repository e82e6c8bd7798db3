import { expect, it } from 'vitest';
import { openSafetensors, writeSafetensors, type ByteSource } from './index.ts';
import type { SafeTensor } from './index.ts';

const tensors = new Map<string, SafeTensor>([
  [
    'large',
    { dtype: 'F32', shape: [1000], data: Float32Array.from({ length: 1000 }, (_, i) => i) },
  ],
  ['small', { dtype: 'BF16', shape: [3], data: Uint16Array.of(1, 2, 3) }],
]);

/** A file in memory that notes which bytes are read. */
function watched(
  bytes: Uint8Array,
): ByteSource & { readonly reads: { at: number; length: number }[] } {
  const reads: { at: number; length: number }[] = [];
  return {
    size: bytes.byteLength,
    reads,
    async read(at, length) {
      reads.push({ at, length });
      return bytes.slice(at, at + length);
    },
  };
}

it('reads a tensor without the bytes of the others', async () => {
  const source = watched(writeSafetensors(tensors, { made: 'here' }));
  const file = await openSafetensors(source);
  expect(file.metadata).toEqual({ made: 'here' });
  expect([...file.entries.keys()].sort()).toEqual(['large', 'small']);
  const header = source.reads.reduce((sum, { length }) => sum + length, 0);
  expect(header).toBeLessThan(source.size - 4000);
  expect(await file.read('small')).toEqual(tensors.get('small'));
  expect(source.reads.at(-1)?.length).toBe(6);
  expect(await file.read('large')).toEqual(tensors.get('large'));
});

it('names a tensor that is not there, and refuses a file that is none', async () => {
  const file = await openSafetensors(watched(writeSafetensors(tensors)));
  await expect(file.read('absent')).rejects.toThrow('absent');
  await expect(openSafetensors(watched(new Uint8Array(4)))).rejects.toThrow('header');
});
