import { add, concat, gelu, reshape, slice, type Tensor } from '../tensor/index.ts';
import { bankDense, type Bank } from '../nn/bank.ts';
import type { Params } from '../nn/params.ts';
import type { DivlaConfig } from './config.ts';

/** What a robot feels, normalised and padded to the head's dimensions. */
export interface Proprioception {
  /** f32 [B, A]. */
  readonly state: Tensor;
  /**
   * f32 [B, A], how the robot moves: the command in force relative to the state or, for policies that
   * read it, the velocity of each state joint; zero where unknown.
   */
  readonly command: Tensor;
  /** f32 [B, 1], 1 where that is known. */
  readonly known: Tensor;
}

/**
 * What the decoder is conditioned on, of the row's own embodiment: the robot's state, the points
 * that its views show and the features there.
 * @param views f32 [B, V, S], one summary a view
 * @param slots place of each view among the head's view slots
 * @returns [B, condition]
 */
export function condition(
  p: Params,
  config: DivlaConfig,
  bank: Bank,
  body: Proprioception,
  views: Tensor,
  slots: readonly number[],
): Tensor {
  const { stateWidth, conditionHidden } = config.head;
  const [b, , width] = views.shape as [number, number, number];
  const felt = concat([body.state, body.command, body.known], 1);
  const state = gelu(bankDense(p.scope('state'), bank, felt, stateWidth), 'tanh');
  const seen = slots.map((slot, i) =>
    bankDense(
      p.scope(`view${slot}`),
      bank,
      reshape(slice(views, 1, i, i + 1), [b, width]),
      conditionHidden,
    ),
  );
  const joined = seen.reduce(add, bankDense(p.scope('mix'), bank, state, conditionHidden));
  const hidden = gelu(joined, 'tanh');
  const deeper = add(
    hidden,
    gelu(bankDense(p.scope('deep'), bank, hidden, conditionHidden), 'tanh'),
  );
  return bankDense(p.scope('condition'), bank, deeper, config.decoder.condition);
}

/** Noisy actions [N, H, A] → what the decoder reads [N, H, C]. */
export function encodeActions(p: Params, config: DivlaConfig, bank: Bank, x: Tensor): Tensor {
  return bankDense(p.scope('encode'), bank, x, config.head.actionWidth);
}

/** What the decoder gives [N, H, C] → predicted noise [N, H, A], by an MLP of the row's embodiment. */
export function decodeActions(p: Params, config: DivlaConfig, bank: Bank, y: Tensor): Tensor {
  const hidden = gelu(bankDense(p.scope('decode.in'), bank, y, config.head.actionHidden), 'tanh');
  return bankDense(p.scope('decode.out'), bank, hidden, config.head.dims);
}
