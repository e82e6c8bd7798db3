import { type Arm, type ArmKind, type Point, reachable } from './arm.ts';
import { at } from './at.ts';
import { heldOutArms } from './embodiments.ts';
import type { Rng } from './rng.ts';

/** An arm of the family stays at least this far from a held-out arm's base of its own kind. */
export const heldOutDistance = 0.12;

/**
 * One of the many arms that the base is trained on: kind, lengths, base, wiring, elbow side, gripper
 * and looks at random. Never one that resembles a held-out arm (same kind, base nearby).
 */
export function sampleArm(rng: Rng): Arm {
  for (let attempt = 0; attempt < 1000; attempt++) {
    const arm = candidate(rng);
    if (!heldOutArms.some((held) => resembles(arm, held)) && reachesEnough(arm)) return arm;
  }
  throw new RangeError('no arm of the family was accepted in 1000 attempts');
}

export function resembles(arm: Arm, held: Arm): boolean {
  return (
    arm.kind === held.kind &&
    Math.hypot(arm.base.x - held.base.x, arm.base.y - held.base.y) < heldOutDistance
  );
}

function candidate(rng: Rng): Arm {
  const kind = rng.pick<ArmKind>(['rr', 'rr', 'rr', 'rrr', 'rrr', 'rrr', 'rp']);
  const side = rng.integer(0, 3);
  const reach = rng.uniform(0.75, 1.05);
  const links = linksOf(rng, kind, reach);
  const signs = links.map((_, i) => (kind === 'rp' && i === 1 ? 1 : rng.pick([-1, 1])));
  const zeros = links.map((_, i) => (kind === 'rp' && i === 1 ? 0 : rng.uniform(-0.4, 0.4)));
  const spans = links.map((_, i) =>
    kind === 'rp' && i === 1
      ? ([0, reach - at(links, 0) - at(links, 1)] as const)
      : i === 0
        ? ([-2.2, 2.2] as const)
        : ([-2.75, 2.75] as const),
  );
  const limits = spans.map(([low, high], i) => {
    const ends = [low, high].map((g) => (g - at(zeros, i)) * at(signs, i));
    return { min: Math.min(...ends), max: Math.max(...ends) };
  });
  const grey = rng.uniform(40, 115);
  return {
    kind,
    base: onSide(side, rng.uniform(0.15, 0.85), rng.uniform(-0.06, 0.14)),
    facing: Math.PI / 2 - (side * Math.PI) / 2 + rng.uniform(-0.3, 0.3),
    links,
    signs,
    zeros,
    limits,
    elbow: rng.pick([-1, 1] as const),
    tilt: kind === 'rrr' ? rng.uniform(-0.6, 0.6) : 0,
    gripper: rng.next() < 0.4,
    look: {
      colour: [
        grey + rng.uniform(-14, 14),
        grey + rng.uniform(-14, 14),
        grey + rng.uniform(-14, 14),
      ],
      width: rng.uniform(0.022, 0.038),
    },
  };
}

function linksOf(rng: Rng, kind: ArmKind, reach: number): number[] {
  if (kind === 'rp') return [rng.uniform(0.08, 0.18), 0.05];
  const share = rng.uniform(0.42, 0.58);
  if (kind === 'rr') return [reach * share, reach * (1 - share)];
  const last = reach * rng.uniform(0.15, 0.28);
  return [(reach - last) * share, (reach - last) * (1 - share), last];
}

/** Side 0 is the bottom edge (facing up), then left, top, right. */
function onSide(side: number, along: number, inwards: number): Point {
  switch (side) {
    case 0:
      return { x: along, y: inwards };
    case 1:
      return { x: inwards, y: along };
    case 2:
      return { x: along, y: 1 - inwards };
    default:
      return { x: 1 - inwards, y: along };
  }
}

/** Whether at least 45 % of the table's inner part can be reached. */
function reachesEnough(arm: Arm): boolean {
  const side = 5;
  let reached = 0;
  for (let i = 0; i < side; i++) {
    for (let j = 0; j < side; j++) {
      const target = { x: 0.1 + (0.8 * i) / (side - 1), y: 0.1 + (0.8 * j) / (side - 1) };
      if (reachable(arm, target)) reached++;
    }
  }
  return reached >= 0.45 * side * side;
}
