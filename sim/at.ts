/** Element `index`, or a RangeError where a plain read would give `undefined`. */
export function at<T>(items: ArrayLike<T>, index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`index ${index} of ${items.length} elements`);
  return item;
}
