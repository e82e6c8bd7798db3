import { conditionalUnet1d, type BlockVoice } from '../../decoders/index.ts';
import type { Bank } from '../../nn/bank.ts';
import { dense, lastDim, modulate } from '../../nn/layers.ts';
import { zeros, type Params } from '../../nn/params.ts';
import { slice, type Tensor } from '../../tensor/index.ts';
import type { LargeConfig } from './config.ts';
import { decodeActions, encodeActions } from './head.ts';
import { OWN_SCOPE } from './views.ts';

/** What drives the decoder, the same in every denoising step. */
export interface Drive {
  /** [N, condition] */
  readonly condition: Tensor;
  /** [N, D], zero for none. */
  readonly reasoning: Tensor;
}

/**
 * The noise in x [N, H, A] at diffusion steps t f32 [N]: encoded and decoded by the row's embodiment, every
 * block modulated by step and condition and, behind that, by the reasoning.
 */
export function predictNoise(
  p: Params,
  config: LargeConfig,
  bank: Bank,
  x: Tensor,
  t: Tensor,
  drive: Drive,
): Tensor {
  const encoded = encodeActions(p, config, bank, x);
  const own = p.scope(OWN_SCOPE).scope('decoder');
  const voice = voiceOf(drive.reasoning);
  return decodeActions(
    p,
    config,
    bank,
    conditionalUnet1d(own, config.decoder, encoded, t, drive.condition, voice),
  );
}

/** x·(1 + scale(r)) + shift(r) in every block (Perez et al. 2018); it starts without a voice. */
function voiceOf(reasoning: Tensor): BlockVoice {
  return (p, x) => {
    const width = lastDim(x);
    // Of the reasoning alone, so inside a loop of steps it is computed once, before the loop.
    const film = dense(p.scope('reasoning'), reasoning, 2 * width, { init: zeros });
    return modulate(x, slice(film, 1, 0, width), slice(film, 1, width, 2 * width));
  };
}
