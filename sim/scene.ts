import type { Arm, Point } from './arm.ts';
import { reachable } from './arm.ts';
import { at } from './at.ts';
import { type ColourName, colourNames, type Rgb } from './colours.ts';
import type { Rng } from './rng.ts';

/** A round object on the table; position and radius in table widths. */
export interface Disc extends Point {
  readonly colour: ColourName;
  readonly radius: number;
  /** Added to each channel of the colour: no two pots of paint are the same. */
  readonly shade: Rgb;
}

export interface Scene {
  /** Two to four objects, of distinct colours. */
  readonly discs: readonly Disc[];
  readonly table: Rgb;
  /** Brightness that every colour of the picture is multiplied by. */
  readonly light: number;
}

export interface SceneOptions {
  /** 0: one table under one light; 1: as varied as pre-training is. */
  readonly variety: number;
  /** Points that no object may be near to, and how near, e.g. where the tool starts. */
  readonly keepClear?: { readonly point: Point; readonly distance: number };
}

export const radiusRange = { min: 0.05, max: 0.07 } as const;
/** Objects lie at least this far inside the table's edge, centre to edge. */
const margin = 0.08;
/** Free space between two objects' rims. */
const gap = 0.025;

/**
 * Objects of distinct colours that neither overlap nor lie out of the arm's reach.
 * Throws RangeError when the arm reaches too little of the table for two objects.
 */
export function sampleScene(rng: Rng, arm: Arm, options: SceneOptions): Scene {
  const wanted = rng.integer(2, 4);
  const palette = shuffled(rng, colourNames);
  const discs: Disc[] = [];
  for (let attempt = 0; attempt < 400 && discs.length < wanted; attempt++) {
    const radius = rng.uniform(radiusRange.min, radiusRange.max);
    const x = rng.uniform(margin, 1 - margin);
    const y = rng.uniform(margin, 1 - margin);
    const near = options.keepClear;
    if (near && Math.hypot(x - near.point.x, y - near.point.y) < near.distance) continue;
    if (discs.some((d) => Math.hypot(x - d.x, y - d.y) < radius + d.radius + gap)) continue;
    if (!reachable(arm, { x, y })) continue;
    const shade = tint(rng, 4 + 10 * options.variety);
    discs.push({ colour: at(palette, discs.length), x, y, radius, shade });
  }
  if (discs.length < 2) throw new RangeError('the arm reaches too little of the table');
  const grey = 186 + rng.uniform(-1, 1) * (6 + 40 * options.variety);
  const cast = tint(rng, 3 + 12 * options.variety);
  const light = 1 + rng.uniform(-1, 1) * (0.02 + 0.1 * options.variety);
  return { discs, table: [grey + cast[0], grey + cast[1], grey + cast[2]], light };
}

function tint(rng: Rng, spread: number): Rgb {
  return [rng.uniform(-spread, spread), rng.uniform(-spread, spread), rng.uniform(-spread, spread)];
}

function shuffled<T>(rng: Rng, items: readonly T[]): T[] {
  const left = [...items];
  for (let i = left.length - 1; i > 0; i--) {
    const j = rng.integer(0, i);
    const kept = at(left, i);
    left[i] = at(left, j);
    left[j] = kept;
  }
  return left;
}
