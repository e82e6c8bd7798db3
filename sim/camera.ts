import type { Point, Pose } from './arm.ts';

/** Pictures are square, of this many pixels a side. */
export const pictureSize = 64;

/** The whole table from above, or a closer view that travels with the tool. */
export type Camera =
  | { readonly kind: 'external' }
  | {
      readonly kind: 'wrist';
      /** Side of the square of table that it sees. */
      readonly field: number;
      /** Whether it turns with the last link (which then points up) or keeps the table's axes. */
      readonly turns: boolean;
    };

/** Table to picture: pixel = origin + x·across + y·along, in pixels, v down; pixel centres at +0.5. */
export interface Projection {
  readonly origin: readonly [number, number];
  readonly across: readonly [number, number];
  readonly along: readonly [number, number];
  /** Pixels a table width. */
  readonly scale: number;
}

export function projection(camera: Camera, pose: Pose): Projection {
  if (camera.kind === 'external') {
    return {
      origin: [0, pictureSize],
      across: [pictureSize, 0],
      along: [0, -pictureSize],
      scale: pictureSize,
    };
  }
  const scale = pictureSize / camera.field;
  // Turned so that the last link points up: rotation by π/2 − heading, then v points down.
  const turn = camera.turns ? Math.PI / 2 - pose.heading : 0;
  const c = scale * Math.cos(turn);
  const s = scale * Math.sin(turn);
  const { x, y } = pose.tool;
  const half = pictureSize / 2;
  return {
    origin: [half - c * x + s * y, half + s * x + c * y],
    across: [c, -s],
    along: [-s, -c],
    scale,
  };
}

/** A table point in pixels of the picture. */
export function toPixel(p: Projection, point: Point): [number, number] {
  return [
    p.origin[0] + p.across[0] * point.x + p.along[0] * point.y,
    p.origin[1] + p.across[1] * point.x + p.along[1] * point.y,
  ];
}
