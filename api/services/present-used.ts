import type { Usage } from '@armature/sdk/contract';
import { decimalOf, type Pico } from '../metering/money.ts';
import type { Quantities } from '../metering/price-sheets.ts';

export interface PricedSum extends Quantities {
  readonly cost: Pico;
}

/** Quantities and their cost as the contract shows them. */
export function presentUsed(sum: PricedSum): Usage['totals'] {
  return {
    chunks: sum.chunks,
    actions: sum.actions,
    reasoning_tokens: sum.reasoningTokens,
    compute_ms: sum.computeUs / 1000,
    training_ms: sum.trainingUs / 1000,
    cost: decimalOf(sum.cost),
  };
}
