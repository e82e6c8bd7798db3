import { seeded } from '../data/index.ts';
import { prefixMask } from '../rtc/index.ts';

/**
 * Which actions of each draw are given: a delay from 0 to `most`, each as likely as the others.
 * Drawn from a stream of its own, so that it changes nothing else of a batch.
 * @returns f32 [draws, horizon]
 */
export function drawPrefixes(o: {
  readonly seed: number;
  readonly step: number;
  readonly draws: number;
  readonly most: number;
  readonly horizon: number;
}): Float32Array {
  const random = seeded(o.seed, 12, o.step);
  const delays = Array.from({ length: o.draws }, () => random.integer(o.most + 1));
  return prefixMask(delays, o.horizon);
}
