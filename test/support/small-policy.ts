import { readFileSync } from 'node:fs';
import type { EmbodimentSpec, FeatureStats } from '@armature/sdk/contract';
import { baseWeightsUrl, loadBase, type BaseModel } from '@armature/policy/checkpoint';
import { imageSize, seeded } from '@armature/policy/data';
import type { TrainingEpisode } from '@armature/policy/train';

/** The base as it ships. */
export function shippedBase(): BaseModel {
  return loadBase(readFileSync(baseWeightsUrl('nano')));
}

/** A small embodiment: `joints` joints, one external view and, if asked for, one wrist view. */
export function smallSpec(
  joints: number,
  options: { wrist?: boolean; reference?: 'state' | 'last_command' | 'absolute' } = {},
): EmbodimentSpec {
  const names = Array.from({ length: joints }, (_, i) => `joint_${i}`);
  return {
    name: `small-${joints}`,
    control_hz: 10,
    horizon: 16,
    state: names.map((name) => ({ name, unit: 'rad' })),
    action: names.map((name) => ({ name, unit: 'rad', group: 'arm', min: -3, max: 3 })),
    references: { arm: options.reference ?? 'state' },
    cameras: [
      { name: 'top', kind: 'external', width: 64, height: 64 },
      ...(options.wrist === true
        ? [{ name: 'wrist', kind: 'wrist' as const, width: 64, height: 64 }]
        : []),
    ],
    on_violation: 'clamp',
    when_starved: 'hold',
  };
}

/** Episodes of smooth random motion with random pictures: enough to train on, nothing to learn. */
export function smallEpisodes(spec: EmbodimentSpec, count: number, length = 24): TrainingEpisode[] {
  const size = imageSize(spec);
  return Array.from({ length: count }, (_, index) => {
    const random = seeded(77, index);
    const width = spec.action.length;
    const state = new Float32Array(length * width);
    const action = new Float32Array(length * width);
    for (let a = 0; a < width; a++) {
      const phase = random.uniform() * 6;
      for (let t = 0; t < length; t++) {
        state[t * width + a] = Math.sin(phase + t / 7);
        action[t * width + a] = Math.sin(phase + (t + 1) / 7);
      }
    }
    return {
      index,
      length,
      instruction: 'reach the red disc',
      state,
      action,
      labels: [{ from: 0, to: length, text: 'The red disc is on the left.', source: 'test' }],
      image(camera, t) {
        const pixels = seeded(5, index, t, camera.length);
        const { width, height } = size;
        return Uint8Array.from({ length: width * height * 3 }, () => pixels.integer(256));
      },
    };
  });
}

/** Statistics that only scales are taken from. */
export function plainStats(names: readonly string[]): FeatureStats {
  const each = (value: number): number[] => names.map(() => value);
  return {
    names: [...names],
    mean: each(0),
    std: each(1),
    min: each(-1),
    max: each(1),
    q01: each(-1),
    q10: each(-0.8),
    q50: each(0),
    q90: each(0.8),
    q99: each(1),
  };
}
