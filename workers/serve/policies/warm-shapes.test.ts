import type { FinetuneMode } from '@armature/sdk/contract';
import { describe, expect, it, vi } from 'vitest';
import { armSpec } from '../testing/robots.ts';
import type { LoadedPolicy } from './policy-registry.ts';
import type { ActRow, PolicyHandle } from './port.ts';
import { shapeOf } from './shape.ts';
import { WarmShapes } from './warm-shapes.ts';

const camera = (name: string, kind: 'external' | 'wrist') =>
  ({ name, kind, width: 64, height: 48 }) as const;
function policy(
  digest: string,
  external: number,
  wrist: number,
  mode: FinetuneMode = 'head',
): LoadedPolicy {
  const names = (n: number, kind: 'external' | 'wrist') =>
    Array.from({ length: n }, (_, i) => camera(`${kind}${i}`, kind));
  const spec = armSpec({ cameras: [...names(external, 'external'), ...names(wrist, 'wrist')] });
  const manifest = { spec, mode, image: { width: 32, height: 32 } };
  return { digest, handle: { digest, manifest }, manifest } as unknown as LoadedPolicy;
}
const off = { when: 'off' } as const;
const one = shapeOf(policy('one', 1, 0).manifest);
const both = shapeOf(policy('both', 1, 1).manifest);
const pairs = shapeOf(policy('pairs', 1, 0, 'lora').manifest);
const own = shapeOf(policy('own', 1, 0, 'full').manifest);

function bench(pulledBack = false) {
  const runs: string[] = [];
  const note = async (kind: string, rows: readonly ActRow[]) => {
    const cameras = Math.max(...rows.map((row) => Object.keys(row.images).length));
    const paired = rows.some((row) => row.policy.manifest.mode === 'lora') ? ' with pairs' : '';
    const pulled = rows.every((row) => row.previous?.correction === 'pulled-back');
    runs.push(`${kind} ${rows.length} rows ${cameras} views${paired}${pulled ? ' pulled' : ''}`);
  };
  const [run, prepare] = [vi.fn(note), vi.fn(note)];
  const onError = vi.fn();
  /** As the real runtime has it: a trunk of one's own is shared with nobody. */
  const groupOf = ({ digest, manifest }: PolicyHandle) =>
    manifest.mode === 'full' ? digest : 'base';
  const warm = new WarmShapes({
    run,
    prepare,
    groupOf,
    buckets: [1, 2, 4, 8],
    pulledBack,
    onError,
  });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { warm, runs, run, prepare, onError, settled };
}

describe('WarmShapes', () => {
  it('warms what one robot needs before it is welcomed, once for robots of one shape', async () => {
    const { warm, runs } = bench();
    expect(warm.fits('act', [one])).toBe(false);
    await Promise.all([
      warm.admit(policy('a', 1, 0), { when: 'interval', ms: 100 }),
      warm.admit(policy('a', 1, 0), off),
    ]);
    expect(runs.slice(0, 3)).toEqual([
      'act 1 rows 1 views',
      'reason_and_act 1 rows 1 views',
      'reason 1 rows 1 views',
    ]);
    expect(warm.fits('act', [one])).toBe(true);
    expect(warm.fits('act', [{ ...one, family: '32x32/16/base' }])).toBe(false);
  });

  it('grows to as many rows as there are robots, smallest first, and no further', async () => {
    const { warm, runs, settled } = bench();
    for (let i = 0; i < 3; i++) await warm.admit(policy(`p${i}`, 1, 0), off);
    await settled();
    expect(runs).toEqual(['act 1 rows 1 views', 'act 2 rows 1 views', 'act 4 rows 1 views']);
    expect(warm.fits('act', [one, one, one])).toBe(true);
    expect(warm.fits('act', [one, one, one, one, one])).toBe(false);
    expect(warm.fits('reason_and_act', [one])).toBe(false);
  });

  it('computes one row of nobody’s and no more, whoever joins: robots wait for those', async () => {
    const { warm, run, prepare, settled } = bench();
    for (let i = 0; i < 6; i++) await warm.admit(policy(`p${i}`, 1, 0), { when: 'every_chunk' });
    await settled();
    expect(run.mock.calls.map(([kind, rows]) => [kind, rows.length])).toEqual([
      ['reason_and_act', 1],
    ]);
    expect(prepare.mock.calls.map(([, rows]) => rows.length)).toEqual([2, 4, 8]);
  });

  it('lets robots with other cameras share a run once that graph is warm too', async () => {
    const { warm, runs, settled } = bench();
    await warm.admit(policy('a', 1, 0), off);
    await warm.admit(policy('b', 1, 0), off);
    await settled();
    expect(warm.fits('act', [one, both])).toBe(false);
    await warm.admit(policy('c', 1, 1), off);
    await settled();
    expect(runs.slice(2)).toEqual([
      'act 1 rows 2 views',
      'act 2 rows 2 views',
      'act 4 rows 2 views',
    ]);
    expect(warm.fits('act', [one, both])).toBe(true);
    expect(warm.fits('act', [one, one, both])).toBe(true);
  });

  it('warms runs with low-rank pairs apart from those without, alone and mixed', async () => {
    const { warm, runs, settled } = bench();
    await warm.admit(policy('a', 1, 0), off);
    expect(warm.fits('act', [pairs])).toBe(false);
    await warm.admit(policy('b', 1, 0, 'lora'), off);
    expect(warm.fits('act', [pairs])).toBe(true);
    await settled();
    expect(warm.fits('act', [one, pairs])).toBe(true);
    expect(warm.fits('act', [one, one])).toBe(false);
    await warm.admit(policy('c', 1, 0), off);
    await settled();
    expect(warm.fits('act', [one, one])).toBe(true);
    expect(warm.fits('act', [one, pairs, one])).toBe(true);
    expect(runs).toEqual([
      'act 1 rows 1 views',
      'act 1 rows 1 views with pairs',
      'act 2 rows 1 views with pairs',
      'act 2 rows 1 views',
      'act 4 rows 1 views with pairs',
    ]);
  });

  it('warms guidance through the network apart, for a worker that has graphs for it', async () => {
    const { warm, runs, settled } = bench(true);
    const cadence = { when: 'interval', ms: 100 } as const;
    await warm.admit(policy('a', 1, 0), cadence);
    expect(runs).toEqual([
      'act 1 rows 1 views',
      'act 1 rows 1 views pulled',
      'reason_and_act 1 rows 1 views',
      'reason_and_act 1 rows 1 views pulled',
      'reason 1 rows 1 views',
    ]);
    const pulled = shapeOf(policy('one', 1, 0).manifest, true);
    expect(warm.fits('act', [pulled, pulled])).toBe(false);
    await warm.admit(policy('b', 1, 0), off);
    await settled();
    expect(warm.fits('act', [pulled, pulled])).toBe(true);
    const { warm: without } = bench();
    await without.admit(policy('a', 1, 0), off);
    expect(without.fits('act', [pulled])).toBe(false);
  });

  it('warms a trunk of its own apart from the base, and never together with another', async () => {
    const { warm, runs, settled, onError } = bench();
    await warm.admit(policy('a', 1, 0), off);
    expect(warm.fits('act', [own])).toBe(false);
    await warm.admit(policy('b', 1, 0, 'full'), off);
    await warm.admit(policy('c', 1, 0, 'full'), off);
    await settled();
    expect(warm.fits('act', [own])).toBe(true);
    expect(runs).toEqual(['act 1 rows 1 views', 'act 1 rows 1 views']);
    // Two robots of one version do share: the graph serves every trunk.
    await warm.admit(policy('c', 1, 0, 'full'), off);
    await settled();
    expect(warm.fits('act', [own, own])).toBe(true);
    expect(onError).not.toHaveBeenCalled();
  });

  it('runs rows of all policies with as many steps, or they would be run apart', async () => {
    const { warm, run, prepare, settled } = bench();
    await warm.admit(policy('a', 1, 0), off);
    await warm.admit(policy('b', 1, 0), off);
    await settled();
    const calls = [...run.mock.calls, ...prepare.mock.calls];
    const steps = calls.flatMap(([, rows]) => rows.map((row) => row.sampler?.steps));
    expect(new Set(steps).size).toBe(1);
    expect(steps[0]).toBeGreaterThan(0);
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
    const { warm, prepare, onError, settled } = bench();
    await warm.admit(policy('a', 1, 0), off);
    prepare.mockRejectedValueOnce(new Error('no memory'));
    await warm.admit(policy('b', 1, 0), off);
    await settled();
    expect(onError).toHaveBeenCalledOnce();
    expect(warm.fits('act', [one, one])).toBe(false);
    expect(warm.fits('act', [one])).toBe(true);
  });
});
