import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ArmatureError,
  checkClientFrame,
  decodeFrame,
  encodeFrame,
  Float64,
  MAX_FRAME_DEPTH,
  MAX_FRAME_VALUES,
  Ndarray,
  NumpyScalar,
  parseClientFrame,
  parseServerFrame,
  TextArray,
} from './index.ts';

const root = process.env['ARMATURE_FIXTURES'] ?? join(import.meta.dirname, '../../test/fixtures');
const folder = join(root, 'openpi-wire');
const present = existsSync(join(folder, 'index.json'));

interface Described {
  kind: string;
  dtype?: string;
  shape?: number[];
  value?: unknown;
  values?: unknown;
  sha256_data?: string;
  base64?: string;
  items?: Described[];
  entries?: [string, Described][];
}
interface Index {
  messages: { name: string; file: string; message: Described }[];
  frames_to_survive: { name: string; file: string }[];
}

const read = (file: string): Uint8Array => new Uint8Array(readFileSync(join(folder, file)));
const index: Index = present
  ? (JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as Index)
  : { messages: [], frames_to_survive: [] };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

/** The error that reading gives; fails where there is none or it is of another type. */
function refusal(read: () => unknown): ArmatureError {
  try {
    read();
  } catch (error) {
    if (error instanceof ArmatureError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

/** Compares a decoded value with what the fixture's index says a reader must find. */
function expectDescribed(value: unknown, want: Described, where: string): void {
  if (want.kind === 'ndarray') {
    if (!(value instanceof Ndarray) && !(value instanceof TextArray)) throw new Error(where);
    expect([value.dtype, value.shape], where).toEqual([want.dtype, want.shape]);
    if (want.sha256_data !== undefined) {
      expect(createHash('sha256').update(value.data).digest('hex'), where).toBe(want.sha256_data);
    } else if (value instanceof Ndarray && !/[iu]8$/.test(value.dtype)) {
      const numbers = [want.values].flat().map((v) => Math.fround(Number(v)));
      expect(Array.from(value.toFloat32()), where).toEqual(numbers);
    }
  } else if (want.kind === 'numpy scalar') {
    if (!(value instanceof NumpyScalar)) throw new Error(where);
    expect(value.dtype, where).toBe(want.dtype);
    const plain = value.value instanceof Float64 ? value.value.value : value.value;
    expect(typeof plain === 'bigint' ? String(plain) : plain, where).toEqual(want.value);
  } else if (want.kind === 'float64') {
    const plain = value instanceof Float64 ? value.value : value;
    expect(plain, where).toBe(Number(want.value));
  } else if (want.kind === 'int') {
    expect(typeof value === 'bigint' ? String(value) : value, where).toBe(want.value);
  } else if (want.kind === 'bytes') {
    expect(Buffer.from(value as Uint8Array).toString('base64'), where).toBe(want.base64);
  } else if (want.kind === 'array') {
    const items = value as unknown[];
    expect(items.length, where).toBe(want.items?.length);
    want.items?.forEach((item, i) => expectDescribed(items[i], item, `${where}[${i}]`));
  } else if (want.kind === 'map') {
    const map = value as Record<string, unknown>;
    expect(Object.keys(map), where).toEqual(want.entries?.map(([key]) => key));
    want.entries?.forEach(([key, item]) => expectDescribed(map[key], item, `${where}.${key}`));
  } else {
    expect(value, where).toBe(want.kind === 'nil' ? null : want.value);
  }
}

describe.skipIf(!present)('openpi fixtures', () => {
  it('are there', () => {
    expect([index.messages.length, index.frames_to_survive.length]).toEqual([19, 18]);
  });

  it.each(index.messages)('$name reads as described and repacks to the same bytes', (entry) => {
    const bytes = read(entry.file);
    const value = decodeFrame(bytes, { exact: true });
    expectDescribed(value, entry.message, entry.name);
    expect(hex(encodeFrame(value))).toBe(hex(bytes));
    expect(() => decodeFrame(bytes)).not.toThrow();
  });

  it.each(index.frames_to_survive)('$name is survived', (entry) => {
    const bytes = read(entry.file);
    if (entry.name === 'text_keys') {
      expect(decodeFrame(bytes)).toEqual({
        __ndarray__: true,
        data: new Uint8Array(4),
        dtype: '<f4',
        shape: [1],
      });
      return;
    }
    const error = refusal(() => decodeFrame(bytes));
    expect(error.code).toBe('invalid_frame');
    expect(error.fix).toBeTruthy();
  });

  it('every prefix of a message is refused as cut short', () => {
    const bytes = read('action_reply.bin');
    for (let length = 0; length < bytes.length; length++) {
      expect(refusal(() => decodeFrame(bytes.subarray(0, length))).code).toBe('invalid_frame');
    }
  });
});

describe('golden vectors of openpi-client', () => {
  it.each([
    [
      { a: Ndarray.float32(Float32Array.of(1, -2.5)) },
      '81a16184c40b5f5f6e6461727261795f5fc3c40464617461c4080000803f000020c0c4056474797065a33c6634c40573686170659102',
    ],
    [
      { i: Ndarray.uint8(Uint8Array.of(0, 1, 2, 3, 4, 5), [1, 2, 3]) },
      '81a16984c40b5f5f6e6461727261795f5fc3c40464617461c406000102030405c4056474797065a37c7531c405736861706593010203',
    ],
    [
      { s: new NumpyScalar('<f4', 0.5) },
      '81a17383c40d5f5f6e7067656e657269635f5fc3c40464617461cb3fe0000000000000c4056474797065a33c6634',
    ],
    [
      { s: new NumpyScalar('|b1', true) },
      '81a17383c40d5f5f6e7067656e657269635f5fc3c40464617461c3c4056474797065a37c6231',
    ],
    [
      { p: new TextArray('<U2', [], unhex('6800000069000000')) },
      '81a17084c40b5f5f6e6461727261795f5fc3c40464617461c4086800000069000000c4056474797065a33c5532c405736861706590',
    ],
    [
      { reset_pose: [0, -1.5, 1.5, 0, 0, 0] },
      '81aa72657365745f706f73659600cbbff8000000000000cb3ff8000000000000000000',
    ],
    [{ infer_ms: new Float64(13) }, '81a8696e6665725f6d73cb402a000000000000'],
    [{}, '80'],
  ])('%#', (value, bytes) => {
    expect(hex(encodeFrame(value))).toBe(bytes);
    expect(hex(encodeFrame(decodeFrame(unhex(bytes), { exact: true })))).toBe(bytes);
  });

  it('reads a prompt that is a 0-D text array, and scalars as plain values', () => {
    const prompt = decodeFrame(
      encodeFrame(
        new TextArray('<U4', [], unhex('63000000e90000004ef60100 00000000'.replace(' ', ''))),
      ),
    );
    expect(prompt instanceof TextArray ? prompt.strings() : prompt).toEqual(['cé🙎']);
    expect(decodeFrame(encodeFrame({ at: new NumpyScalar('<f4', 0.5) }))).toEqual({ at: 0.5 });
  });

  it('takes a dtype that arrives as bytes', () => {
    const bytes =
      '84c40b5f5f6e6461727261795f5fc3c40464617461c40101c4056474797065c4037c7531c40573686170659101';
    expect(decodeFrame(unhex(bytes))).toEqual(Ndarray.uint8(Uint8Array.of(1), [1]));
  });

  it('half floats have their values', () => {
    const bits = Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0xfc00, 0x7e00, 0x8000);
    const half = new Ndarray('<f2', [8], new Uint8Array(bits.buffer));
    expect(Array.from(half.toFloat32())).toEqual([
      1,
      -2,
      65504,
      2 ** -24,
      Infinity,
      -Infinity,
      NaN,
      -0,
    ]);
  });
});

const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.double(),
  fc.maxSafeInteger(),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
  fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }),
  fc.string({ unit: 'binary' }),
  fc.uint8Array(),
  fc.float32Array().map((values) => Ndarray.float32(values)),
  fc
    .tuple(fc.nat(4), fc.nat(4), fc.nat(255))
    .map(([h, w, fill]) => Ndarray.uint8(new Uint8Array(h * w * 3).fill(fill), [h, w, 3])),
);
const frames = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'frame' },
    leaf,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.string({ unit: 'binary' }).filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;

describe('properties', () => {
  it('what is written is read back', () => {
    fc.assert(
      fc.property(frames, (value) => {
        const bytes = encodeFrame(value);
        expect(decodeFrame(bytes)).toEqual(value);
        expect(hex(encodeFrame(decodeFrame(bytes, { exact: true })))).toBe(hex(bytes));
      }),
      { numRuns: 500, endOnFailure: true },
    );
  });

  it('random bytes and damaged frames give a value or a typed error', () => {
    const attempt = (bytes: Uint8Array): void => {
      for (const reader of [decodeFrame, parseClientFrame, parseServerFrame]) {
        try {
          reader(bytes);
        } catch (error) {
          if (!(error instanceof ArmatureError)) throw error;
          expect(error.code).toBe('invalid_frame');
        }
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), attempt), {
      numRuns: 3000,
      endOnFailure: true,
    });
    fc.assert(
      fc.property(frames, fc.nat(), fc.nat(255), (value, at, byte) => {
        const bytes = Uint8Array.from(encodeFrame(value));
        bytes[at % bytes.length] = byte;
        attempt(bytes);
      }),
      { numRuns: 1000, endOnFailure: true },
    );
  });
});

describe('limits', () => {
  it('depth, size and number of values are capped, at the places that say so', () => {
    const nested = (depth: number): Uint8Array =>
      Uint8Array.from([...new Array<number>(depth).fill(0x91), 0x00]);
    expect(() => decodeFrame(nested(MAX_FRAME_DEPTH))).not.toThrow();
    expect(refusal(() => decodeFrame(nested(MAX_FRAME_DEPTH + 1))).message).toContain('deeper');
    expect(refusal(() => decodeFrame(new Uint8Array(9), { maxBytes: 8 })).message).toContain(
      '9 bytes',
    );
    const many = new Uint8Array(5 + MAX_FRAME_VALUES).fill(0xc0);
    many.set([0xdd, 0, 1, 0, 0]);
    expect(refusal(() => decodeFrame(many)).message).toContain(String(MAX_FRAME_VALUES));
  });

  it('declared lengths are refused before anything is allocated for them', () => {
    for (const bytes of ['ddffffffff00', 'dfffffffffa100', 'dbffffffff61', 'c6ffffffff00']) {
      expect(refusal(() => decodeFrame(unhex(bytes))).message).toMatch(/declared/);
    }
  });

  it('keys are text, once, and never the prototype', () => {
    expect(refusal(() => decodeFrame(unhex('810101'))).message).toContain('keys must be text');
    expect(refusal(() => decodeFrame(unhex('81c4016101'))).message).toContain('keys must be text');
    expect(refusal(() => decodeFrame(unhex('82a16101a16102'))).field).toBe('a');
    expect(refusal(() => decodeFrame(encodeFrame(JSON.parse('{"__proto__":1}')))).code).toBe(
      'invalid_frame',
    );
  });

  it('names the value that is wrong', () => {
    const bytes = encodeFrame({ images: { wrist: Ndarray.uint8(new Uint8Array(3), [1, 1, 3]) } });
    const last = bytes.length - 1;
    bytes[last] = 4;
    const error = refusal(() => decodeFrame(bytes));
    expect(error.field).toBe('images.wrist');
    expect(error.message).toContain('needs 4 bytes, got 3');
  });

  it.each([
    [{ a: { b: [1, undefined] } }, 'a.b[1]'],
    [{ when: new Date(0) }, 'when'],
    [{ f: () => 1 }, 'f'],
    [{ big: 2n ** 64n }, 'big'],
    [{ text: '\ud800' }, 'text'],
    [{ map: new Map() }, 'map'],
  ])('refuses to write %o', (value, field) => {
    expect(refusal(() => encodeFrame(value)).field).toBe(field);
  });

  it('refuses to write a cycle', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    expect(refusal(() => encodeFrame(cycle)).message).toContain('deeper');
  });
});

describe('frames of armature.v1', () => {
  const observation = {
    type: 'observation',
    seq: 3,
    captured_at: 1_700_000_000_000.5,
    images: { top: { jpeg: Uint8Array.of(0xff, 0xd8) } },
    state: Ndarray.float32(Float32Array.of(1, 2)),
  };

  it('read back as they were written', () => {
    expect(parseClientFrame(encodeFrame(observation))).toEqual(observation);
    expect(parseClientFrame(encodeFrame({ type: 'bye', later_field: 1 }))).toEqual({ type: 'bye' });
  });

  it('name the field that is wrong', () => {
    const wrong = (change: object): string | undefined =>
      refusal(() => checkClientFrame({ ...observation, ...change })).field;
    expect(wrong({ seq: -1 })).toBe('seq');
    expect(wrong({ state: [1, 2] })).toBe('state');
    expect(wrong({ images: { top: { png: new Uint8Array(1) } } })).toBe('images.top');
    expect(wrong({ executed: { chunk_id: 'c', steps: 1.5 } })).toBe('executed.steps');
    expect(wrong({ type: 'observe' })).toBe('type');
    expect(refusal(() => parseServerFrame(encodeFrame({ type: 'welcome' }))).field).toBe(
      'session_id',
    );
    expect(refusal(() => parseServerFrame(encodeFrame([1]))).code).toBe('invalid_frame');
  });
});
