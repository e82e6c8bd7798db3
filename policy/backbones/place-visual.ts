import { concat, filled, gather, less, reshape, where, type Tensor } from '../tensor/index.ts';

/**
 * Puts visual features in place of the tokens that stand for them.
 * @param embedded [B, T, hidden]
 * @param features [N, hidden]
 * @param places i64 [B, T], a row of `features`, or -1 for text (see `visualPlaces`)
 */
export function placeVisual(embedded: Tensor, features: Tensor, places: Tensor): Tensor {
  const [batch, length, hidden] = embedded.shape as [number, number, number];
  const isText = less(places, 0);
  // Text reads a row of zeros behind the features, which the choice below drops.
  const padded = concat([features, filled(embedded.graph, 0, [1, hidden])], 0);
  const behind = places.graph.constant([features.shape[0] ?? 0], [1, 1], 'int64');
  const visual = gather(padded, where(isText, behind, places));
  return where(reshape(isText, [batch, length, 1]), embedded, visual);
}
