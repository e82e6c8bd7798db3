import { describe, expect, it } from 'vitest';
import {
  createRng,
  duo,
  heldOutArms,
  inverse,
  jointCount,
  poseOf,
  reachable,
  resembles,
  sampleArm,
  trio,
} from './index.ts';

describe('arms', () => {
  it('inverse kinematics puts the tool on the target, within the limits, for every arm', () => {
    const rng = createRng(1);
    let solved = 0;
    for (let i = 0; i < 1000; i++) {
      const arm = i % 10 === 0 ? duo.arm : i % 10 === 1 ? trio.arm : sampleArm(rng);
      const target = { x: rng.uniform(0.08, 0.92), y: rng.uniform(0.08, 0.92) };
      const joints = inverse(arm, target);
      if (joints === null) continue;
      solved++;
      const { tool } = poseOf(arm, joints);
      expect(Math.hypot(tool.x - target.x, tool.y - target.y)).toBeLessThan(1e-9);
      arm.limits.forEach(({ min, max }, joint) => {
        const value = joints[joint] ?? Number.NaN;
        expect(value >= min && value <= max).toBe(true);
      });
    }
    expect(solved).toBeGreaterThan(700);
  });

  it('stretched straight, an arm is as long as its links, along the direction it faces', () => {
    const { tool, heading, points } = poseOf(trio.arm, [0, 0, 0]);
    const length = trio.arm.links.reduce((sum, link) => sum + link, 0);
    expect(tool.x).toBeCloseTo(trio.arm.base.x + length, 12);
    expect(tool.y).toBeCloseTo(trio.arm.base.y, 12);
    expect(heading).toBe(0);
    expect(points).toHaveLength(4);
  });

  it('the tool moves as the Jacobian by finite differences says', () => {
    const joints = [0.3, -0.8];
    const step = 1e-6;
    const here = poseOf(duo.arm, joints).tool;
    const there = poseOf(duo.arm, [0.3 + step, -0.8]).tool;
    // Turning the base joint moves the tool at right angles to the ray from the base.
    expect((there.x - here.x) / step).toBeCloseTo(-(here.y - duo.arm.base.y), 4);
    expect((there.y - here.y) / step).toBeCloseTo(here.x - duo.arm.base.x, 4);
  });

  it('the solution changes smoothly with the target', () => {
    const before = inverse(trio.arm, { x: 0.5, y: 0.5 });
    const after = inverse(trio.arm, { x: 0.501, y: 0.5 });
    expect(before).not.toBeNull();
    expect(after).not.toBeNull();
    before?.forEach((value, i) => {
      expect(Math.abs(value - (after?.[i] ?? Number.NaN))).toBeLessThan(0.02);
    });
  });

  it('says what is out of reach', () => {
    expect(reachable(duo.arm, { x: 0.5, y: 0.99 })).toBe(false);
    expect(inverse(duo.arm, { x: 3, y: 3 })).toBeNull();
  });

  it('the family has every kind, and never a held-out arm', () => {
    const rng = createRng(2);
    const kinds = new Map<string, number>();
    for (let i = 0; i < 500; i++) {
      const arm = sampleArm(rng);
      kinds.set(arm.kind, (kinds.get(arm.kind) ?? 0) + 1);
      expect(heldOutArms.some((held) => resembles(arm, held))).toBe(false);
      expect(arm.limits).toHaveLength(jointCount(arm));
    }
    expect([...kinds.keys()].sort()).toEqual(['rp', 'rr', 'rrr']);
    expect(resembles(duo.arm, duo.arm)).toBe(true);
  });
});
