import { ddimStep } from '../../decoders/ddim.ts';
import type { Bank } from '../../nn/bank.ts';
import type { Params } from '../../nn/params.ts';
import { towardsPrevious, withPrefix } from '../../rtc/index.ts';
import {
  expand,
  gather,
  loop,
  mul,
  reshape,
  slice,
  type Graph,
  type Tensor,
} from '../../tensor/index.ts';
import { SAMPLER_COLUMNS } from '../diffusion.ts';
import { predictNoise, type Drive } from './decoder.ts';
import type { LargeConfig, LargeSignature } from './config.ts';

/** Rows of a sampler's table: the most denoising steps a request may ask for. */
export const LARGE_MAX_STEPS = 20;

/**
 * A chunk by DDIM inside the graph, one step a trip.
 *
 * Inputs: noise f32 [B, H, A] already scaled, kept f32 [B, A] (1 for the row's own dimensions), table
 * f32 [20, 5], steps i64 [], previous f32 [B, H, A] with previous_weight f32 [B, H] (guided) and
 * previous_given f32 [B, H] (set in the sample before every step).
 * @returns actions f32 [B, H, A] in normalised units
 */
export function sample(
  graph: Graph,
  p: Params,
  config: LargeConfig,
  { horizon }: LargeSignature,
  bank: Bank,
  drive: Drive,
): Tensor {
  const rows = drive.condition.shape[0] ?? 1;
  const { dims } = config.head;
  const noise = graph.input('noise', 'float32', [rows, horizon, dims]);
  const table = graph.input('table', 'float32', [LARGE_MAX_STEPS, SAMPLER_COLUMNS]);
  const steps = graph.input('steps', 'int64', []);
  const kept = reshape(graph.input('kept', 'float32', [rows, dims]), [rows, 1, dims]);
  const previous = graph.input('previous', 'float32', [rows, horizon, dims]);
  const weights = graph.input('previous_weight', 'float32', [rows, horizon]);
  const guide = towardsPrevious({ previous, weights, mode: 'direct' });
  const given = { previous, mask: graph.input('previous_given', 'float32', [rows, horizon]) };
  const { carried } = loop(graph, {
    trips: steps,
    carried: [withPrefix(noise, given)],
    body: (_, i, [x]) => {
      if (x === undefined) throw new RangeError('the sampler carries the actions');
      const row = reshape(gather(table, reshape(i, [1]), 0), [SAMPLER_COLUMNS]);
      const column = (n: number): Tensor => slice(row, 0, n, n + 1);
      const found = predictNoise(p, config, bank, x, expand(column(0), [rows]), drive);
      const levels = {
        root: column(1),
        rest: column(2),
        rootBefore: column(3),
        restBefore: column(4),
      };
      const next = ddimStep(x, found, levels, config.diffusion, guide);
      // Padded dimensions stay zero, as they were in training.
      return { carried: [withPrefix(mul(next, kept), given)] };
    },
  });
  const [actions] = carried;
  if (actions === undefined) throw new RangeError('the sampler gave no actions');
  return actions;
}
