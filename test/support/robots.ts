import { createHash } from 'node:crypto';
import type { EmbodimentSpec } from '@armature/sdk/contract';

/** A small embodiment: two joints and a gripper that the state does not feel, one camera. */
export const armSpec: EmbodimentSpec = {
  name: 'test arm',
  control_hz: 30,
  horizon: 16,
  state: [
    { name: 'shoulder', unit: 'rad' },
    { name: 'elbow', unit: 'rad' },
  ],
  action: [
    { name: 'shoulder', unit: 'rad', group: 'arm', min: -3, max: 3 },
    { name: 'elbow', unit: 'rad', group: 'arm', min: -3, max: 3 },
    { name: 'gripper', unit: 'ratio', group: 'hand', min: 0, max: 1 },
  ],
  references: { arm: 'state', hand: 'absolute' },
  cameras: [{ name: 'front', kind: 'external', width: 64, height: 64 }],
  on_violation: 'clamp',
  when_starved: 'hold',
};

/** A planned file for these bytes. */
export function fileOf(path: string, bytes: Uint8Array) {
  return { path, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}
