import type { EmbodimentSpec } from '@armature/sdk/contract';
import { type Arm, dimension, isPrismatic } from './arm.ts';
import { at } from './at.ts';
import { type Camera, pictureSize } from './camera.ts';
import { maxOpeningVelocity, maxVelocity } from './motion.ts';

export const controlHz = 10;
export const horizon = 16;

/** A robot of the simulator: its arm, its cameras, and what the platform is told of it. */
export interface Embodiment {
  readonly name: string;
  readonly arm: Arm;
  readonly cameras: Readonly<Record<string, Camera>>;
  readonly spec: EmbodimentSpec;
}

const duoArm: Arm = {
  kind: 'rr',
  base: { x: 0.5, y: 0.05 },
  facing: Math.PI / 2,
  links: [0.48, 0.44],
  signs: [1, 1],
  zeros: [0, 0],
  limits: [
    { min: -2.2, max: 2.2 },
    { min: -2.75, max: 2.75 },
  ],
  elbow: 1,
  tilt: 0,
  gripper: false,
  look: { colour: [70, 74, 84], width: 0.03 },
};

const trioArm: Arm = {
  kind: 'rrr',
  base: { x: 0.04, y: 0.42 },
  facing: 0,
  links: [0.4, 0.36, 0.2],
  signs: [1, 1, 1],
  zeros: [0, 0, 0],
  limits: [
    { min: -2.2, max: 2.2 },
    { min: -2.75, max: 2.75 },
    { min: -2.75, max: 2.75 },
  ],
  elbow: -1,
  tilt: 0,
  gripper: true,
  look: { colour: [92, 82, 70], width: 0.028 },
};

/** Arms that pre-training never draws (nor any that resembles them). */
export const heldOutArms: readonly Arm[] = [duoArm, trioArm];

/** Two joints, one external camera, no gripper: state and action have two dimensions. */
export const duo: Embodiment = embodimentOf('duo', duoArm, { top: { kind: 'external' } });

/** Three joints and a gripper, an external and a wrist camera: four dimensions. */
export const trio: Embodiment = embodimentOf('trio', trioArm, {
  top: { kind: 'external' },
  wrist: { kind: 'wrist', field: 0.5, turns: true },
});

export const heldOutEmbodiments: readonly Embodiment[] = [duo, trio];

/**
 * An arm with cameras as an embodiment. Its specification: joints relative to the state, the
 * gripper's opening (0 closed, 1 open) absolute, 10 Hz, chunks of 16, hold when starved.
 */
export function embodimentOf(
  name: string,
  arm: Arm,
  cameras: Readonly<Record<string, Camera>>,
): Embodiment {
  return { name, arm, cameras, spec: specOf(name, arm, cameras) };
}

function specOf(name: string, arm: Arm, cameras: Readonly<Record<string, Camera>>): EmbodimentSpec {
  const joints = arm.links.map((_, i) => ({
    name: `joint_${i + 1}`,
    unit: isPrismatic(arm, i) ? 'm' : 'rad',
    group: 'arm',
    min: at(arm.limits, i).min,
    max: at(arm.limits, i).max,
    max_velocity: maxVelocity(arm, i),
  }));
  const gripper = {
    name: 'gripper',
    unit: 'ratio',
    group: 'gripper',
    min: 0,
    max: 1,
    max_velocity: maxOpeningVelocity,
  };
  const action = arm.gripper ? [...joints, gripper] : joints;
  if (action.length !== dimension(arm)) throw new RangeError(`${name}: dimensions disagree`);
  return {
    name,
    control_hz: controlHz,
    horizon,
    state: action.map((joint) => ({ name: joint.name, unit: joint.unit })),
    action,
    references: arm.gripper ? { arm: 'state', gripper: 'absolute' } : { arm: 'state' },
    cameras: Object.entries(cameras).map(([camera, { kind }]) => ({
      name: camera,
      kind,
      width: pictureSize,
      height: pictureSize,
    })),
    on_violation: 'clamp',
    when_starved: 'hold',
  };
}
