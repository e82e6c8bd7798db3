import { describe, expect, it } from 'vitest';
import { ArmatureError, checkObservation, Ndarray, type EmbodimentSpec } from './index.ts';
import type { WireObservation } from './index.ts';

const spec: EmbodimentSpec = {
  name: 'arm',
  control_hz: 20,
  horizon: 8,
  state: [
    { name: 'elbow', unit: 'rad' },
    { name: 'grip', unit: 'ratio' },
  ],
  action: [{ name: 'elbow', unit: 'rad', group: 'arm', min: -1, max: 1 }],
  references: { arm: 'state' },
  cameras: [
    { name: 'top', kind: 'external', width: 8, height: 10 },
    { name: 'wrist', kind: 'wrist', width: 8, height: 8 },
  ],
  on_violation: 'clamp',
  when_starved: 'hold',
};
const good: WireObservation = {
  type: 'observation',
  seq: 0,
  captured_at: 0,
  images: {
    top: { pixels: Ndarray.uint8(new Uint8Array(240), [10, 8, 3]) },
    wrist: { jpeg: Uint8Array.of(0xff, 0xd8, 0xff) },
  },
  state: Ndarray.float32(Float32Array.of(0.5, 1)),
};

function refusal(change: Partial<WireObservation>): [string, string | undefined] {
  try {
    checkObservation(spec, { ...good, ...change });
  } catch (error) {
    if (error instanceof ArmatureError) return [error.code, error.field];
    throw error;
  }
  throw new Error('was not refused');
}

describe('checkObservation', () => {
  it('takes an observation that fits', () => {
    expect(() => checkObservation(spec, good)).not.toThrow();
  });

  it('names what does not fit', () => {
    const { wrist, top } = good.images as Record<
      'wrist' | 'top',
      WireObservation['images'][string]
    >;
    expect(refusal({ images: { top } })).toEqual(['missing_camera', 'images.wrist']);
    expect(refusal({ images: { top, wrist, side: wrist } })).toEqual([
      'invalid_observation',
      'images.side',
    ]);
    const turned = { pixels: Ndarray.uint8(new Uint8Array(240), [8, 10, 3]) };
    expect(refusal({ images: { top: turned, wrist } })).toEqual([
      'invalid_observation',
      'images.top.pixels',
    ]);
    expect(refusal({ images: { top, wrist: { jpeg: new Uint8Array(4) } } })).toEqual([
      'invalid_observation',
      'images.wrist.jpeg',
    ]);
    expect(refusal({ state: Ndarray.float32(new Float32Array(3)) })).toEqual([
      'invalid_state',
      'state',
    ]);
    expect(refusal({ state: Ndarray.float32(Float32Array.of(0, Number.NaN)) })).toEqual([
      'invalid_state',
      'state[1]',
    ]);
    const executed = {
      chunk_id: 'c',
      steps: 1,
      last_command: Ndarray.float32(new Float32Array(2)),
    };
    expect(refusal({ executed })).toEqual(['invalid_state', 'executed.last_command']);
  });
});
