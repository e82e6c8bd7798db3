import { bankDense, type Bank } from '../../nn/bank.ts';
import { dense, norm } from '../../nn/layers.ts';
import type { Params } from '../../nn/params.ts';
import { concat, gelu, type Tensor } from '../../tensor/index.ts';
import type { Proprioception } from '../head.ts';
import type { LargeConfig } from './config.ts';
import { OWN_SCOPE } from './views.ts';

/** Two affine layers of the row's own embodiment with GELU between them. */
function bankMlp(p: Params, bank: Bank, x: Tensor, hidden: number, out: number): Tensor {
  return bankDense(
    p.scope('out'),
    bank,
    gelu(bankDense(p.scope('in'), bank, x, hidden), 'tanh'),
    out,
  );
}

/**
 * What the decoder is conditioned on: Linear(concat(LayerNorm(h), state)), the state encoded by the row's
 * own embodiment.
 * @param pooled mean of the prompt's final states [B, hidden]
 * @returns [B, condition]
 */
export function conditionOf(
  p: Params,
  config: LargeConfig,
  bank: Bank,
  pooled: Tensor,
  body: Proprioception,
): Tensor {
  const felt = concat([body.state, body.command, body.known], 1);
  const state = bankMlp(p.scope('head.state'), bank, felt, config.head.hidden, config.condition);
  const own = p.scope(OWN_SCOPE).scope('condition');
  return dense(
    own.scope('join'),
    concat([norm(own.scope('norm'), pooled), state], 1),
    config.condition,
  );
}

/** Noisy actions [N, H, A] → what the decoder reads [N, H, C]. */
export function encodeActions(p: Params, config: LargeConfig, bank: Bank, x: Tensor): Tensor {
  return bankMlp(p.scope('head.encode'), bank, x, config.head.hidden, config.decoder.actions);
}

/** What the decoder gives [N, H, C] → predicted noise [N, H, A]. */
export function decodeActions(p: Params, config: LargeConfig, bank: Bank, y: Tensor): Tensor {
  return bankMlp(p.scope('head.decode'), bank, y, config.head.hidden, config.head.dims);
}
