import { reshape } from './broadcast.ts';
import { emit, indices } from './emit.ts';
import type { Tensor } from './graph.ts';
import { dim } from './shapes.ts';

/**
 * The positions that every output position reads, side by side, by one Gather: half the copying of a
 * slice a tap and their concatenation.
 * @param x [B, P, C]
 * @param taps for each output position the positions that it reads, equally many each
 * @returns [B, taps.length, taps[i].length · C]; blocks gradients
 */
export function windows(x: Tensor, taps: readonly (readonly number[])[]): Tensor {
  const [batch, channels] = [dim(x.shape, 0), dim(x.shape, 2)];
  const each = taps[0]?.length ?? 0;
  const shape = [batch, taps.length * each, channels];
  const index = indices(x.graph, taps.flat());
  const apart = emit('Gather', [x, index], { dtype: x.dtype, shape }, { axis: { int: 1 } });
  return reshape(apart, [batch, taps.length, each * channels]);
}
