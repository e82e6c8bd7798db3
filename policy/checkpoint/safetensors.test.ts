import { readdir } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fixturePath, readFixture, readFixtureJson } from '../../test/support/fixtures.ts';
import {
  SafetensorsError,
  fromFloat32,
  listSafetensors,
  readSafetensors,
  toFloat32,
  writeSafetensors,
} from './index.ts';
import type { SafeTensor } from './index.ts';

function tensorsOf(...files: Uint8Array[]): Map<string, SafeTensor> {
  return new Map(files.flatMap((bytes) => [...readSafetensors(bytes).tensors]));
}

describe('reading', () => {
  it('finds what the reference implementation wrote, with the shapes the index tells', async () => {
    const { cases } = (await readFixtureJson('ops', 'index.json')) as {
      cases: { file: string; inputs: Record<string, { shape: number[]; dtype: string }> }[];
    };
    for (const { file, inputs } of cases.slice(0, 20)) {
      const { tensors } = readSafetensors(await readFixture('ops', file));
      for (const [name, { shape, dtype }] of Object.entries(inputs)) {
        expect(tensors.get(name)?.shape).toEqual(shape);
        expect(tensors.get(name)?.dtype).toBe(dtype === 'int64' ? 'I64' : 'F32');
      }
    }
  });

  it('reads bfloat16 shards to the very numbers of the float32 file', async () => {
    const folder = fixturePath('qwen2-vl-tiny', 'folder-bf16-sharded');
    const names = (await readdir(folder)).filter((n) => n.endsWith('.safetensors'));
    expect(names.length).toBeGreaterThan(1);
    const shards = tensorsOf(
      ...(await Promise.all(
        names.map((n) => readFixture('qwen2-vl-tiny', 'folder-bf16-sharded', n)),
      )),
    );
    const whole = tensorsOf(await readFixture('qwen2-vl-tiny', 'folder', 'model.safetensors'));
    expect([...shards.keys()].sort()).toEqual([...whole.keys()].sort());
    for (const [name, tensor] of shards) {
      const other = whole.get(name);
      if (other === undefined) throw new Error(name);
      expect(tensor.dtype).toBe('BF16');
      expect(toFloat32(tensor)).toEqual(toFloat32(other));
    }
  });
});

describe('writing', () => {
  it('gives back what it was given, for every type, names and metadata included', () => {
    const array = {
      F32: (n: number[]) => Float32Array.from(n),
      F16: (n: number[]) => Uint16Array.from(n),
      BF16: (n: number[]) => Uint16Array.from(n),
      I64: (n: number[]) => BigInt64Array.from(n, BigInt),
      I32: (n: number[]) => Int32Array.from(n),
      U8: (n: number[]) => Uint8Array.from(n),
      I8: (n: number[]) => Int8Array.from(n),
      BOOL: (n: number[]) => Uint8Array.from(n, (v) => v & 1),
    };
    const tensor = fc
      .record({
        dtype: fc.constantFrom(...(Object.keys(array) as (keyof typeof array)[])),
        shape: fc.array(fc.nat(4), { maxLength: 3 }),
        seed: fc.nat(99),
      })
      .map(({ dtype, shape, seed }): SafeTensor => {
        const size = shape.reduce((a, b) => a * b, 1);
        return {
          dtype,
          shape,
          data: array[dtype](Array.from({ length: size }, (_, i) => i + seed)),
        };
      });
    const named = fc.dictionary(
      fc.string().filter((n) => n !== '__metadata__' && n !== '__proto__'),
      tensor,
      { maxKeys: 6 },
    );
    fc.assert(
      fc.property(
        named,
        fc.dictionary(
          fc.string().filter((n) => n !== '__proto__'),
          fc.string(),
          { maxKeys: 3 },
        ),
        (tensors, metadata) => {
          const given = new Map(Object.entries(tensors));
          const bytes = writeSafetensors(given, metadata);
          const back = readSafetensors(bytes);
          expect(new Map([...back.tensors].sort())).toEqual(new Map([...given].sort()));
          expect(back.metadata).toEqual({ ...metadata });
          expect(writeSafetensors(new Map([...given].reverse()), metadata)).toEqual(bytes);
          expect([...listSafetensors(bytes).keys()].sort()).toEqual([...given.keys()].sort());
        },
      ),
    );
  });

  it('writes the bytes that the reference implementation writes', async () => {
    const bytes = await readFixture('optim', 'adamw.safetensors');
    const { tensors, metadata } = readSafetensors(bytes);
    expect(writeSafetensors(tensors, metadata)).toEqual(bytes);
  });

  it('refuses a tensor whose array does not fit', () => {
    const wrong: SafeTensor = { dtype: 'F32', shape: [3], data: Float32Array.of(1, 2) };
    expect(() => writeSafetensors(new Map([['w', wrong]]))).toThrow(SafetensorsError);
    expect(() => toFloat32({ dtype: 'I64', shape: [1], data: BigInt64Array.of(1n) })).toThrow(
      SafetensorsError,
    );
  });
});

describe('conversion', () => {
  it('rounds float32 into half and bfloat16', () => {
    const data = Float32Array.of(1, -2.5, 0.1, 70000);
    expect([...toFloat32(fromFloat32(data, [4], 'F16'))]).toEqual([
      1,
      -2.5,
      0.0999755859375,
      Infinity,
    ]);
    expect([...toFloat32(fromFloat32(data, [4], 'BF16'))]).toEqual([1, -2.5, 0.10009765625, 70144]);
    expect(fromFloat32(data, [4], 'F32').data).toBe(data);
  });
});

describe('hostile files', () => {
  const good = () =>
    writeSafetensors(new Map([['w', { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) }]]));
  const withHeader = (header: string, room = 8) => {
    const encoded = new TextEncoder().encode(header);
    const bytes = new Uint8Array(8 + encoded.length + room);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(encoded.length), true);
    bytes.set(encoded, 8);
    return bytes;
  };
  const entry = (fields: object) =>
    JSON.stringify({ w: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...fields } });
  const cases: Readonly<Record<string, Uint8Array>> = {
    empty: new Uint8Array(0),
    'cut in the header': good().subarray(0, 20),
    'cut in the data': good().subarray(0, -1),
    'bytes behind the data': withHeader(entry({}), 9),
    'a header longer than the file': withHeader('{}').fill(0xff, 0, 7),
    'no JSON': withHeader('{"w":'),
    'a list': withHeader('[]'),
    'an unknown type': withHeader(entry({ dtype: 'F64' })),
    'a type that is an object member': withHeader(entry({ dtype: 'toString' })),
    'a negative size': withHeader(entry({ shape: [-2] })),
    'a size that is no number': withHeader(entry({ shape: ['2'] })),
    'offsets outside': withHeader(entry({ data_offsets: [8, 16] })),
    'offsets backwards': withHeader(entry({ data_offsets: [8, 0] })),
    'bytes that do not fit the shape': withHeader(entry({ shape: [3] })),
    'tensors that overlap': withHeader(
      JSON.stringify({
        a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
        b: { dtype: 'F32', shape: [1], data_offsets: [4, 8] },
      }),
    ),
    'metadata that is no text': withHeader(JSON.stringify({ __metadata__: { a: 1 } }), 0),
  };
  it.each(Object.keys(cases))('%s: a typed error', (name) => {
    expect(() => readSafetensors(cases[name] ?? good())).toThrow(SafetensorsError);
  });
});
