import { defineEmbodiment } from '../robot/embodiment.ts';
import type { Observation } from '../robot/observation.ts';

/** A small robot that the tests speak for. */
export const arm = defineEmbodiment({
  name: 'two-joint arm',
  control_hz: 50,
  horizon: 8,
  state: [
    { name: 'shoulder', unit: 'rad' },
    { name: 'elbow', unit: 'rad' },
    { name: 'gripper', unit: 'ratio' },
  ],
  action: [
    { name: 'shoulder', unit: 'rad', group: 'joints', min: -3, max: 3 },
    { name: 'gripper', unit: 'ratio', group: 'gripper', min: 0, max: 1 },
  ],
  references: { joints: 'state', gripper: 'absolute' },
  cameras: [
    { name: 'top', kind: 'external', width: 16, height: 12 },
    { name: 'wrist', kind: 'wrist', width: 8, height: 8 },
  ],
  on_violation: 'clamp',
  when_starved: 'hold',
});

export const jpeg = Uint8Array.of(0xff, 0xd8, 0xff, 0xd9);

/** An observation of the arm whose shoulder is at `shoulder`. */
export function seen(shoulder = 0): Observation<typeof arm> {
  return {
    images: { top: { jpeg }, wrist: { pixels: new Uint8Array(8 * 8 * 3) } },
    state: { shoulder, elbow: 0, gripper: 1 },
  };
}
