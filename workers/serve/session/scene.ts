/** Pictures of one observation as the policy sees them, u8 RGB by camera. */
export type Scene = Readonly<Record<string, Uint8Array>>;

/** Every so manieth value is looked at: prime, so that all three colours are. */
const STRIDE = 7;

/**
 * How far two scenes are apart: mean absolute difference over all views, 0 (the same) to 1 (black
 * against white). Scenes of other cameras or sizes are as far apart as can be.
 */
export function sceneDistance(before: Scene, now: Scene): number {
  const cameras = Object.keys(now);
  if (cameras.length === 0 || cameras.length !== Object.keys(before).length) return 1;
  let sum = 0;
  let count = 0;
  for (const camera of cameras) {
    const a = before[camera];
    const b = now[camera];
    if (a === undefined || b === undefined || a.length !== b.length) return 1;
    for (let i = 0; i < b.length; i += STRIDE) {
      sum += Math.abs((a[i] ?? 0) - (b[i] ?? 0));
      count += 1;
    }
  }
  return count === 0 ? 1 : sum / (255 * count);
}
