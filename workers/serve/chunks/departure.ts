import type { EmbodimentSpec } from '@armature/sdk/contract';

/** Where a chunk sets out from, one number an action dimension; NaN where it is not known. */
export interface Departure {
  /** Command in force before the chunk's first step, or the measured position in its place. */
  readonly position: Float32Array;
  /** Change of the command over the control period before that. */
  readonly step: Float32Array;
}

/**
 * @param last f32 [A] command in force when the observation was made.
 * @param before f32 [A] command one control period earlier.
 * @param state f32 [S]; stands in for the last command in dimensions that the state has too.
 */
export function departureOf(
  spec: EmbodimentSpec,
  state: Float32Array,
  last: Float32Array | undefined,
  before: Float32Array | undefined,
): Departure {
  const position = new Float32Array(spec.action.length).fill(NaN);
  const step = new Float32Array(spec.action.length).fill(NaN);
  if (last !== undefined) {
    position.set(last);
    if (before !== undefined) step.forEach((_, d) => (step[d] = last[d]! - before[d]!));
  } else {
    const index = new Map(spec.state.map((joint, i) => [joint.name, i]));
    spec.action.forEach((joint, d) => {
      const i = index.get(joint.name);
      if (i !== undefined) position[d] = state[i]!;
    });
  }
  return { position, step };
}
