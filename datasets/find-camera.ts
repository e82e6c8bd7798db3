import { ArmatureError } from '@armature/sdk/contract';
import type { Camera } from './dataset.ts';

/** @throws ArmatureError `not_found`, which lists the cameras that there are. */
export function findCamera(cameras: readonly Camera[], name: string): Camera {
  const found = cameras.find((camera) => camera.name === name);
  if (found !== undefined) return found;
  throw new ArmatureError('not_found', `the data set has no camera ${name}`, {
    field: name,
    fix: `Use one of: ${cameras.map((camera) => camera.name).join(', ')}.`,
  });
}
