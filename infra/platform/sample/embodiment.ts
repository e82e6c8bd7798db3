import type { EmbodimentSpec } from '@armature/sdk/contract';

const JOINTS = Array.from({ length: 7 }, (_, i) => `joint_${i + 1}`);
const RANGE = 2.8;

/** An arm of seven joints with a gripper, seen from outside and from its wrist. */
export const sampleSpec: EmbodimentSpec = {
  name: 'sample arm',
  control_hz: 20,
  horizon: 16,
  state: [...JOINTS.map((name) => ({ name, unit: 'rad' })), { name: 'gripper', unit: 'ratio' }],
  action: [
    ...JOINTS.map((name) => ({
      name,
      unit: 'rad',
      group: 'arm',
      min: -RANGE,
      max: RANGE,
      max_velocity: 1,
      max_acceleration: 10,
    })),
    { name: 'gripper', unit: 'ratio', group: 'gripper', min: 0, max: 1 },
  ],
  references: { arm: 'state', gripper: 'absolute' },
  cameras: [
    { name: 'image', kind: 'external', width: 224, height: 224 },
    { name: 'wrist_image', kind: 'wrist', width: 224, height: 224 },
  ],
  on_violation: 'clamp',
  when_starved: 'hold',
};
