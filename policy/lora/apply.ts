import type { Project } from '../backbones/index.ts';
import { bankPair } from '../nn/bank.ts';
import { fanIn, zeros, type Params } from '../nn/params.ts';
import { lastDim } from '../nn/layers.ts';
import { add, linear, mul, type Tensor } from '../tensor/index.ts';
import type { LoraConfig } from './adapter.ts';

/**
 * y = base(x) + scaling·(x·Aᵀ)·Bᵀ at the layers that the config targets, with A [r, in] and B [out, r]
 * under the layer's own name in `adapters` (`….lora_A.weight`, `….lora_B.weight`).
 */
export function lora(config: LoraConfig, adapters: Params, base: Project): Project {
  return (p, x, out, bias) => {
    const y = base(p, x, out, bias);
    if (!targeted(config, p.path)) return y;
    const own = adapters.scope(p.path);
    const width = lastDim(x);
    const a = own.param('lora_A.weight', [config.rank, width], fanIn(width));
    const b = own.param('lora_B.weight', [out, config.rank], zeros);
    return add(y, mul(linear(linear(x, a), b), config.scaling));
  };
}

/**
 * The same with an adapter of each row's own: `adapters` holds banks A [slots, in, r] and
 * B [slots, r, out], and x [B, T, in] or [B, in] reads its slot (i64 [B]). Rows of one batch may be of
 * different tenants.
 */
export function bankLora(
  config: LoraConfig,
  adapters: Params,
  slots: number,
  slot: Tensor,
  base: Project,
): Project {
  return (p, x, out, bias) => {
    const y = base(p, x, out, bias);
    if (!targeted(config, p.path)) return y;
    const bank = { kind: 'gathered', slots, slot } as const;
    const part = bankPair(adapters.scope(p.path), bank, x, config.rank, out);
    return add(y, mul(part, config.scaling));
  };
}

function targeted({ targets }: LoraConfig, path: string): boolean {
  return targets.some((target) => path === target || path.endsWith(`.${target}`));
}
