import type { EmbodimentSpec } from '@armature/sdk/contract';

/** Limits of one action dimension, rates in units a control period. */
export interface JointLimits {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Largest change between two steps; Infinity where the spec sets no velocity. */
  readonly step: number;
  /** Largest change of that change; Infinity where the spec sets no acceleration. */
  readonly change: number;
  /** What float32 may add to a value of this size without it counting as a violation. */
  readonly tolerance: number;
}

export interface ChunkLimits {
  readonly horizon: number;
  readonly joints: readonly JointLimits[];
  readonly onViolation: EmbodimentSpec['on_violation'];
}

/** Turns a spec's limits, given a second, into limits a control period. */
export function chunkLimits(spec: EmbodimentSpec): ChunkLimits {
  return {
    horizon: spec.horizon,
    onViolation: spec.on_violation,
    joints: spec.action.map((joint) => ({
      name: joint.name,
      min: joint.min,
      max: joint.max,
      step: joint.max_velocity === undefined ? Infinity : joint.max_velocity / spec.control_hz,
      change:
        joint.max_acceleration === undefined
          ? Infinity
          : joint.max_acceleration / spec.control_hz ** 2,
      tolerance: 1e-6 * Math.max(Math.abs(joint.min), Math.abs(joint.max), joint.max - joint.min),
    })),
  };
}
