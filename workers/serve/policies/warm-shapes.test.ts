import { describe, expect, it, vi } from 'vitest';
import { armSpec } from '../testing/robots.ts';
import type { LoadedPolicy } from './policy-registry.ts';
import type { ActRow } from './port.ts';
import { WarmShapes } from './warm-shapes.ts';

const camera = (name: string, kind: 'external' | 'wrist') =>
  ({ name, kind, width: 64, height: 48 }) as const;
function policy(digest: string, external: number, wrist: number): LoadedPolicy {
  const names = (n: number, kind: 'external' | 'wrist') =>
    Array.from({ length: n }, (_, i) => camera(`${kind}${i}`, kind));
  const spec = armSpec({ cameras: [...names(external, 'external'), ...names(wrist, 'wrist')] });
  const manifest = { spec, image: { width: 32, height: 32 } };
  return { digest, handle: { digest }, manifest } as unknown as LoadedPolicy;
}
const off = { when: 'off' } as const;
const one = { external: 1, wrist: 0 };
const both = { external: 1, wrist: 1 };

function bench() {
  const runs: string[] = [];
  const run = vi.fn(async (kind: string, rows: readonly ActRow[]) => {
    const cameras = Math.max(...rows.map((row) => Object.keys(row.images).length));
    runs.push(`${kind} ${rows.length} rows ${cameras} views`);
  });
  const onError = vi.fn();
  const warm = new WarmShapes({ run, buckets: [1, 2, 4, 8], onError });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { warm, runs, run, onError, settled };
}

describe('WarmShapes', () => {
  it('warms what one robot needs before it is welcomed, once for robots of one shape', async () => {
    const { warm, runs } = bench();
    expect(warm.fits('act', '32x32/8', [one])).toBe(false);
    await Promise.all([
      warm.admit(policy('a', 1, 0), { when: 'interval', ms: 100 }),
      warm.admit(policy('a', 1, 0), off),
    ]);
    expect(runs.slice(0, 3)).toEqual([
      'act 1 rows 1 views',
      'reason_and_act 1 rows 1 views',
      'reason 1 rows 1 views',
    ]);
    expect(warm.fits('act', '32x32/8', [one])).toBe(true);
    expect(warm.fits('act', '32x32/16', [one])).toBe(false);
  });

  it('grows to as many rows as there are robots, smallest first, and no further', async () => {
    const { warm, runs, settled } = bench();
    for (let i = 0; i < 3; i++) await warm.admit(policy(`p${i}`, 1, 0), off);
    await settled();
    expect(runs).toEqual(['act 1 rows 1 views', 'act 2 rows 1 views', 'act 4 rows 1 views']);
    expect(warm.fits('act', '32x32/8', [one, one, one])).toBe(true);
    expect(warm.fits('act', '32x32/8', [one, one, one, one, one])).toBe(false);
    expect(warm.fits('reason_and_act', '32x32/8', [one])).toBe(false);
  });

  it('lets robots with other cameras share a run once that graph is warm too', async () => {
    const { warm, runs, settled } = bench();
    await warm.admit(policy('a', 1, 0), off);
    await warm.admit(policy('b', 1, 0), off);
    await settled();
    expect(warm.fits('act', '32x32/8', [one, both])).toBe(false);
    await warm.admit(policy('c', 1, 1), off);
    await settled();
    expect(runs.slice(2)).toEqual([
      'act 1 rows 2 views',
      'act 2 rows 2 views',
      'act 4 rows 2 views',
    ]);
    expect(warm.fits('act', '32x32/8', [one, both])).toBe(true);
    expect(warm.fits('act', '32x32/8', [one, one, both])).toBe(true);
  });

  it('does not count robots that have left', async () => {
    const { warm, runs, settled } = bench();
    (await warm.admit(policy('a', 1, 0), off))();
    (await warm.admit(policy('b', 1, 0), off))();
    await warm.admit(policy('c', 1, 0), off);
    await settled();
    expect(runs).toEqual(['act 1 rows 1 views']);
  });

  it('refuses a robot whose graph cannot be run, and tries again for the next', async () => {
    const { warm, run } = bench();
    run.mockRejectedValueOnce(new Error('engine'));
    await expect(warm.admit(policy('a', 1, 0), off)).rejects.toThrow('engine');
    await warm.admit(policy('a', 1, 0), off);
  });

  it('reports what cannot be warmed for larger runs, and keeps to smaller ones', async () => {
    const { warm, run, onError, settled } = bench();
    await warm.admit(policy('a', 1, 0), off);
    run.mockRejectedValueOnce(new Error('no memory'));
    await warm.admit(policy('b', 1, 0), off);
    await settled();
    expect(onError).toHaveBeenCalledOnce();
    expect(warm.fits('act', '32x32/8', [one, one])).toBe(false);
    expect(warm.fits('act', '32x32/8', [one])).toBe(true);
  });
});
