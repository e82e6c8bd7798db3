import type { EmbodimentSpec } from '@armature/sdk/contract';

/**
 * How far a robot is from where its chunk had it go: the mean, over the joints that its state measures in
 * the unit of their commands, of the distance between the two in shares of the joint's range.
 *
 * @param commanded f32 [A], the step of the chunk that was executed last.
 * @param state f32 [S], what was measured after it.
 * @returns undefined where no joint is measured so.
 */
export function deviationOf(
  spec: Pick<EmbodimentSpec, 'state' | 'action'>,
  commanded: Float32Array,
  state: Float32Array,
): number | undefined {
  const shares = spec.action.flatMap(({ name, unit, min, max }, i) => {
    const measured = spec.state.findIndex((joint) => joint.name === name && joint.unit === unit);
    const [is, wanted] = [state[measured], commanded[i]];
    if (is === undefined || wanted === undefined || !(max > min)) return [];
    return [Math.abs(is - wanted) / (max - min)];
  });
  if (shares.length === 0) return undefined;
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}
