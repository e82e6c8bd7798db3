import { describe, expect, it } from 'vitest';
import {
  ArmatureError,
  encodeFrame,
  fromOpenpi,
  Ndarray,
  openpiObservation,
  TextArray,
  toOpenpi,
  type WireChunk,
} from './index.ts';

const spec = {
  name: 'arm',
  cameras: [
    { name: 'base', kind: 'external', width: 4, height: 2 },
    { name: 'wrist', kind: 'wrist', width: 4, height: 2 },
  ],
  state: [
    { name: 'a', unit: 'rad' },
    { name: 'b', unit: 'rad' },
  ],
} as const satisfies Parameters<typeof openpiObservation>[0] & { name: string };
const asSpec = structuredClone(spec) as unknown as Parameters<typeof fromOpenpi>[0];

const picture = Uint8Array.from({ length: 24 }, (_, i) => i);
const pixels = Ndarray.uint8(picture, [2, 4, 3]);
const message = {
  'observation/base': pixels,
  'observation/wrist': pixels,
  'observation/state': Ndarray.float32(Float32Array.of(1, 2)),
  prompt: 'lift',
};
const at = { seq: 4, capturedAt: 9 };

function refusal(message: unknown): ArmatureError {
  try {
    fromOpenpi(asSpec, message, at);
  } catch (error) {
    if (error instanceof ArmatureError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('openpi observations', () => {
  it('are named after the embodiment', () => {
    expect(openpiObservation(asSpec)).toEqual({
      'observation/base': { dtype: 'uint8', shape: [2, 4, 3] },
      'observation/wrist': { dtype: 'uint8', shape: [2, 4, 3] },
      'observation/state': { dtype: 'float32', shape: [2] },
      prompt: { dtype: 'str', shape: [] },
    });
  });

  it('become observations of ours', () => {
    expect(fromOpenpi(asSpec, message, at)).toEqual({
      type: 'observation',
      seq: 4,
      captured_at: 9,
      images: { base: { pixels }, wrist: { pixels } },
      state: message['observation/state'],
      instruction: 'lift',
    });
  });

  it('may have channels first, floats, JPEG files, a nested map and a numpy prompt', () => {
    const first = new Uint8Array(24);
    for (let i = 0; i < 8; i++)
      for (let c = 0; c < 3; c++) first[c * 8 + i] = picture[3 * i + c] ?? 0;
    const jpeg = Uint8Array.of(0xff, 0xd8);
    const made = fromOpenpi(
      asSpec,
      {
        images: { base: Ndarray.uint8(first, [3, 2, 4]), wrist: jpeg },
        state: message['observation/state'],
      },
      at,
    );
    expect(made.images).toEqual({ base: { pixels }, wrist: { jpeg } });
    expect(made).not.toHaveProperty('instruction');
    const floats = Ndarray.float32(
      Float32Array.from(picture, (value) => (value + 0.5) / 255),
      [2, 4, 3],
    );
    const prompt = new TextArray('<U2', [], Uint8Array.of(104, 0, 0, 0, 105, 0, 0, 0));
    const other = fromOpenpi(asSpec, { ...message, 'observation/base': floats, prompt }, at);
    expect(other.images['base']).toEqual({ pixels });
    expect(other.instruction).toBe('hi');
  });

  it('are refused by the key that is wrong', () => {
    expect(refusal(5)).toMatchObject({ code: 'invalid_observation' });
    expect(refusal({ ...message, 'observation/wrist': undefined })).toMatchObject({
      code: 'missing_camera',
      field: 'observation/wrist',
    });
    expect(refusal({ ...message, 'observation/base': 'x' }).field).toBe('observation/base');
    expect(refusal({ ...message, 'observation/state': [1, 2] }).code).toBe('invalid_state');
    expect(refusal({ ...message, prompt: 7 }).field).toBe('prompt');
  });
});

describe('an openpi reply', () => {
  it('is byte for byte what openpi’s server sends', () => {
    const chunk = { actions: Ndarray.float32(new Float32Array(2), [1, 2]) } as WireChunk;
    const bytes = encodeFrame(toOpenpi(chunk, { policyMs: 12.5, serverMs: 13, previousMs: 20 }));
    // From openpi's own Packer: actions float64 zeros (1, 2), policy 12.5, server 13.0, previous 20.0.
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '83a7616374696f6e7384c40b5f5f6e6461727261795f5fc3c40464617461c410' +
        '00'.repeat(16) +
        'c4056474797065a33c6638c4057368617065920102ad706f6c6963795f74696d696e6781a8696e6665725f6d73' +
        'cb4029000000000000ad7365727665725f74696d696e6782a8696e6665725f6d73cb402a000000000000' +
        'ad707265765f746f74616c5f6d73cb4034000000000000',
    );
  });
});
