import { describe, expect, it } from 'vitest';
import {
  type Arm,
  type Camera,
  colourNames,
  colours,
  createRng,
  duo,
  evaluationTask,
  pictureSize,
  poseOf,
  projection,
  Renderer,
  sampleArm,
  sampleScene,
  sampleStart,
  toPixel,
  trio,
} from './index.ts';

const renderer = new Renderer();

/** An arm too far away to be seen by the external camera, so that nothing hides an object. */
function outOfSight(arm: Arm): Arm {
  return { ...arm, base: { x: arm.base.x + 10, y: arm.base.y } };
}

/** Centre of the pixels that are nearer to a colour than to the table, weighted by how much. */
function centroid(
  image: Uint8Array,
  colour: readonly number[],
  table: readonly number[],
  around: readonly [number, number],
  radius: number,
): [number, number] {
  const axis = [0, 1, 2].map((c) => (colour[c] ?? 0) - (table[c] ?? 0));
  const length = axis.reduce((sum, a) => sum + a * a, 0);
  let [su, sv, weight] = [0, 0, 0];
  for (let v = 0; v < pictureSize; v++) {
    for (let u = 0; u < pictureSize; u++) {
      if (Math.hypot(u + 0.5 - around[0], v + 0.5 - around[1]) > radius + 1.5) continue;
      const at = (v * pictureSize + u) * 3;
      const cover =
        axis.reduce((sum, a, c) => sum + a * ((image[at + c] ?? 0) - (table[c] ?? 0)), 0) / length;
      const w = Math.min(1, Math.max(0, cover));
      su += w * (u + 0.5);
      sv += w * (v + 0.5);
      weight += w;
    }
  }
  return [su / weight, sv / weight];
}

describe('renderer', () => {
  it('draws every object where the projection says, within 0.15 pixels', () => {
    const rng = createRng(3);
    for (let i = 0; i < 40; i++) {
      const scene = sampleScene(rng, duo.arm, { variety: 1 });
      const image = renderer.render({ kind: 'external' }, scene, outOfSight(duo.arm), [0, 0]);
      for (const disc of scene.discs) {
        const expected: [number, number] = [64 * disc.x, 64 * (1 - disc.y)];
        const colour = colours[disc.colour].map((c, k) => (c + (disc.shade[k] ?? 0)) * scene.light);
        const table = scene.table.map((c) => c * scene.light);
        const [u, v] = centroid(image, colour, table, expected, 64 * disc.radius);
        expect(Math.hypot(u - expected[0], v - expected[1])).toBeLessThan(0.15);
      }
    }
  });

  it('finds objects within half a pixel by colour alone while the arm is in the picture', () => {
    let seen = 0;
    for (let episode = 0; episode < 20; episode++) {
      const { scene, start } = evaluationTask(trio, 5, episode);
      const image = renderer.render({ kind: 'external' }, scene, trio.arm, start);
      for (const disc of scene.discs) {
        const found = [0, 0, 0];
        for (let p = 0; p < pictureSize * pictureSize; p++) {
          const rgb = image.subarray(3 * p, 3 * p + 3);
          if (nearest(rgb) !== disc.colour) continue;
          found[0] = (found[0] ?? 0) + (p % pictureSize) + 0.5;
          found[1] = (found[1] ?? 0) + Math.floor(p / pictureSize) + 0.5;
          found[2] = (found[2] ?? 0) + 1;
        }
        const [su = 0, sv = 0, count = 0] = found;
        const visible = count / (Math.PI * (64 * disc.radius) ** 2);
        // A link across an object shifts the centre of what is left of it.
        if (visible < 0.85) continue;
        seen++;
        expect(Math.hypot(su / count - 64 * disc.x, sv / count - 64 * (1 - disc.y))).toBeLessThan(
          0.5,
        );
      }
    }
    expect(seen).toBeGreaterThan(30);
  });

  it('a turning wrist view has the tool in the middle and the last link pointing up', () => {
    const rng = createRng(4);
    const camera: Camera = { kind: 'wrist', field: 0.5, turns: true };
    for (let i = 0; i < 50; i++) {
      const arm = sampleArm(rng);
      const pose = poseOf(arm, sampleStart(rng, arm));
      const view = projection(camera, pose);
      const [u, v] = toPixel(view, pose.tool);
      expect([u, v]).toEqual([expect.closeTo(32, 6), expect.closeTo(32, 6)]);
      const ahead = {
        x: pose.tool.x + 0.1 * Math.cos(pose.heading),
        y: pose.tool.y + 0.1 * Math.sin(pose.heading),
      };
      const [au, av] = toPixel(view, ahead);
      expect(au).toBeCloseTo(32, 6);
      expect(av).toBeCloseTo(32 - 12.8, 6);
      // Not mirrored: what is to the left of the link is left in the picture.
      const left = {
        x: pose.tool.x - 0.1 * Math.sin(pose.heading),
        y: pose.tool.y + 0.1 * Math.cos(pose.heading),
      };
      expect(toPixel(view, left)[0]).toBeCloseTo(32 - 12.8, 6);
    }
  });

  it('draws the wrist view where its projection says', () => {
    const rng = createRng(6);
    const camera: Camera = { kind: 'wrist', field: 0.5, turns: true };
    let seen = 0;
    for (let i = 0; i < 60; i++) {
      const start = sampleStart(rng, trio.arm);
      const keepClear = { point: poseOf(trio.arm, start).tool, distance: 0.14 };
      const scene = sampleScene(rng, trio.arm, { variety: 0, keepClear });
      const hidden = { ...trio.arm, look: { ...trio.arm.look, width: 0 } };
      const image = renderer.render(camera, scene, hidden, start);
      const view = projection(camera, poseOf(trio.arm, start));
      for (const disc of scene.discs) {
        const [u, v] = toPixel(view, disc);
        const radius = disc.radius * 128;
        if (Math.min(u, v, 64 - u, 64 - v) < radius) continue;
        seen++;
        const colour = colours[disc.colour].map((c, k) => (c + (disc.shade[k] ?? 0)) * scene.light);
        const table = scene.table.map((c) => c * scene.light);
        const [fu, fv] = centroid(image, colour, table, [u, v], radius);
        expect(Math.hypot(fu - u, fv - v)).toBeLessThan(0.5);
      }
    }
    expect(seen).toBeGreaterThan(10);
  });

  it('gives the same bytes for the same scene, on this canvas and on another', () => {
    const { scene, start } = evaluationTask(trio, 1, 0);
    const one = renderer.render({ kind: 'external' }, scene, trio.arm, start);
    renderer.render({ kind: 'external' }, evaluationTask(duo, 1, 1).scene, duo.arm, [0, 0]);
    const two = new Renderer().render({ kind: 'external' }, scene, trio.arm, start);
    expect(renderer.render({ kind: 'external' }, scene, trio.arm, start)).toEqual(one);
    expect(two).toEqual(one);
  });

  it('shows the arm and how far the gripper is open', () => {
    const { scene, start } = evaluationTask(trio, 1, 0);
    const open = Float32Array.from(start).fill(1, 3);
    const closed = Float32Array.from(start).fill(0, 3);
    const camera: Camera = { kind: 'external' };
    const pictures = [open, closed].map((s) => renderer.render(camera, scene, trio.arm, s));
    expect(pictures[0]).not.toEqual(pictures[1]);
    expect(renderer.render(camera, scene, outOfSight(trio.arm), open)).not.toEqual(pictures[0]);
  });

  it('refuses an output of the wrong size', () => {
    const { scene, start } = evaluationTask(duo, 1, 0);
    expect(() =>
      renderer.render({ kind: 'external' }, scene, duo.arm, start, new Uint8Array(10)),
    ).toThrow(RangeError);
  });
});

/** The named colour that a pixel is close to, if it is close to one. */
function nearest([r = 0, g = 0, b = 0]: Uint8Array): string | null {
  let best: string | null = null;
  let least = 40;
  for (const name of colourNames) {
    const [cr, cg, cb] = colours[name];
    const distance = Math.hypot(r - cr, g - cg, b - cb);
    if (distance < least) {
      least = distance;
      best = name;
    }
  }
  return best;
}
