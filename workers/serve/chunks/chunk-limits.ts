import { jointLimits, type EmbodimentSpec, type JointLimits } from '@armature/sdk/contract';

export interface ChunkLimits {
  readonly horizon: number;
  readonly joints: readonly JointLimits[];
  readonly onViolation: EmbodimentSpec['on_violation'];
}

/** What a chunk of this embodiment has to keep to. */
export function chunkLimits(spec: EmbodimentSpec): ChunkLimits {
  return { horizon: spec.horizon, onViolation: spec.on_violation, joints: jointLimits(spec) };
}
