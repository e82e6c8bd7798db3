import { preprocessImage } from '@armature/policy/data';
import type { PolicyHandle, PolicyRuntime } from '@armature/policy/runtime';
import { Ndarray, type WireObservation } from '@armature/sdk/contract';
import { rowSeed } from '../session/row-seed.ts';
import { observation } from './robots.ts';

const pixels = Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * 13) % 256);
const instruction = 'reach the red disc';

/** What a robot with one camera `front` of 64×48 sees. */
export function seen(seq: number, state: readonly number[]): WireObservation {
  return observation(seq, new Uint8Array(), {
    images: { front: { pixels: Ndarray.uint8(pixels, [48, 64, 3]) } },
    state: Ndarray.float32(Float32Array.from(state)),
    instruction,
  });
}

/** The chunk that the model gives for `seen` in a run of its own, inside the robot's limits. */
export async function alone(
  runtime: PolicyRuntime,
  policy: PolicyHandle,
  state: readonly number[],
  chunkId: string,
  kind: 'act' | 'reasonAndAct' = 'act',
): Promise<number[]> {
  const { image, spec } = policy.manifest;
  const [result] = await runtime[kind]([
    {
      policy,
      images: { front: preprocessImage(pixels, 64, 48, image) },
      instruction,
      state: Float32Array.from(state),
      seed: rowSeed(chunkId),
    },
  ]);
  return [...(result?.actions ?? [])].map((value, k) => {
    const joint = spec.action[k % spec.action.length];
    if (joint === undefined) throw new RangeError('the embodiment has no actions');
    return Math.min(Math.max(value, joint.min), joint.max);
  });
}
