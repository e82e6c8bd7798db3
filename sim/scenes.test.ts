import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  allTexts,
  colourNames,
  createRng,
  dimension,
  duo,
  expertChunk,
  horizon,
  pretrainChunk,
  pretrainSample,
  Renderer,
  reachable,
  sampleScene,
  trio,
} from './index.ts';

describe('random streams', () => {
  it('repeat for a seed and differ between streams', () => {
    const draw = (...stream: number[]) => {
      const rng = createRng(...stream);
      return Array.from({ length: 5 }, () => rng.next());
    };
    expect(draw(7, 1)).toEqual(draw(7, 1));
    const firsts = [[7], [8], [7, 0], [7, 1], [1, 7], [7, 2 ** 32 + 1]].map((s) => draw(...s)[0]);
    expect(new Set(firsts).size).toBe(6);
    expect(() => createRng(0.5)).toThrow(RangeError);
  });

  it('are uniform and normal', () => {
    const rng = createRng(11);
    const n = 40_000;
    const uniform = Array.from({ length: n }, () => rng.next());
    const normal = Array.from({ length: n }, () => rng.normal());
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / n;
    expect(mean(uniform)).toBeCloseTo(0.5, 1.9);
    expect(mean(uniform.map((u) => (u - 0.5) ** 2))).toBeCloseTo(1 / 12, 2);
    expect(Math.abs(mean(normal))).toBeLessThan(0.02);
    expect(Math.abs(mean(normal.map((x) => x * x)) - 1)).toBeLessThan(0.03);
    const counts = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const k = rng.integer(2, 4) - 2;
      counts[k] = (counts[k] ?? 0) + 1;
    }
    counts.forEach((count) => expect(Math.abs(count / n - 1 / 3)).toBeLessThan(0.02));
  });
});

describe('scenes', () => {
  it('hold two to four reachable objects of distinct colours that do not overlap', () => {
    const rng = createRng(1);
    const counts = new Set<number>();
    for (let i = 0; i < 500; i++) {
      const { arm } = i % 2 === 0 ? duo : trio;
      const { discs } = sampleScene(rng, arm, { variety: 1 });
      counts.add(discs.length);
      expect(new Set(discs.map((d) => d.colour)).size).toBe(discs.length);
      discs.forEach((d, k) => {
        expect(reachable(arm, d)).toBe(true);
        for (const e of discs.slice(k + 1)) {
          expect(Math.hypot(d.x - e.x, d.y - e.y)).toBeGreaterThan(d.radius + e.radius);
        }
      });
    }
    expect([...counts].sort()).toEqual([2, 3, 4]);
  });
});

describe('pre-training samples', () => {
  it('are the same bytes for the same seed', () => {
    const digest = (seed: number) => {
      const hash = createHash('sha256');
      const rng = createRng(seed);
      const renderer = new Renderer();
      for (let i = 0; i < 20; i++) {
        const { image, wrist, state, instructions } = pretrainSample(rng, renderer, {
          wrist: i % 2 === 0,
        });
        hash.update(image).update(new Uint8Array(state.buffer));
        if (wrist) hash.update(wrist);
        for (const { actions, ...rest } of instructions) {
          hash.update(new Uint8Array(actions.buffer)).update(JSON.stringify(rest));
        }
      }
      return hash.digest('hex');
    };
    expect(digest(5)).toBe(digest(5));
    expect(digest(5)).not.toBe(digest(6));
  });

  it('ask for every object of the picture, and the answer is that object', () => {
    const rng = createRng(2);
    const renderer = new Renderer();
    const texts = allTexts();
    const known = {
      instructions: new Set(texts.instructions),
      reasoning: new Set(texts.reasoning),
    };
    for (let i = 0; i < 200; i++) {
      const sample = pretrainSample(rng, renderer, { wrist: true });
      const named = sample.instructions.map(({ text }) =>
        colourNames.filter((colour) => text.split(' ').includes(colour)),
      );
      expect(named.every((colours) => colours.length === 1)).toBe(true);
      expect(new Set(named.flat()).size).toBe(sample.instructions.length);
      sample.instructions.forEach(({ text, reasoning, targetXY: [u, v], actions, wristXY }, k) => {
        expect(known.instructions.has(text)).toBe(true);
        expect(known.reasoning.has(reasoning)).toBe(true);
        expect(reasoning).toContain(named[k]?.[0]);
        expect(reasoning.includes('on the left')).toBe(u < 1 / 3);
        expect(reasoning.includes('near the top')).toBe(v < 1 / 3);
        expect(actions).toHaveLength(horizon * dimension(sample.arm));
        expect(actions.every(Number.isFinite)).toBe(true);
        if (wristXY) expect(Math.min(...wristXY)).toBeGreaterThanOrEqual(0);
      });
      expect(sample.state).toHaveLength(dimension(sample.arm));
    }
  });

  it('a chunk leads to its target: repeated, it ends on it', () => {
    const rng = createRng(3);
    const renderer = new Renderer();
    for (let i = 0; i < 100; i++) {
      const { arm, actions, targetXY } = pretrainChunk(rng, renderer);
      const disc = {
        colour: 'red',
        x: targetXY[0],
        y: 1 - targetXY[1],
        radius: 0.06,
        shade: [0, 0, 0],
      } as const;
      let state = actions.slice(-dimension(arm));
      for (let k = 0; k < 4; k++) {
        state = expertChunk(arm, disc, state, horizon).slice(-dimension(arm));
      }
      const rest = expertChunk(arm, disc, state, 1);
      rest.forEach((value, joint) => expect(value).toBeCloseTo(state[joint] ?? Number.NaN, 2));
    }
  });
});
