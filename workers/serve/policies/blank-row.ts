import type { ActRow } from './port.ts';
import type { LoadedPolicy } from './policy-registry.ts';

/** What is asked of a model to warm it; no robot is behind it. */
export const WARM_UP = 'warm up';

/** Guidance through the network towards nothing. */
const NOTHING_LEFT = {
  actions: new Float32Array(),
  delay: 0,
  schedule: 'exp',
  correction: 'pulled-back',
} as const;

/**
 * A row that any version answers: black pictures, a state of zeros, and as many steps as every other
 * one has, since rows of different steps would be run apart, in smaller graphs.
 */
export function blankRow({ handle, manifest }: LoadedPolicy, pulled: boolean): ActRow {
  const { spec, image } = manifest;
  const black = new Uint8Array(image.width * image.height * 3);
  return {
    policy: handle,
    images: Object.fromEntries(spec.cameras.map((camera) => [camera.name, black])),
    instruction: WARM_UP,
    state: new Float32Array(spec.state.length),
    seed: 0,
    sampler: { steps: 2, noise_scale: 0 },
    ...(pulled ? { previous: NOTHING_LEFT } : {}),
  };
}
