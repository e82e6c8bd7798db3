import type { Figure } from '../../result.ts';
import { quantile } from '../../timing.ts';
import { connect, leave, newVersion, seen, type Robot, type Served } from './fleet.ts';

/** Time to the first chunk of a version that nobody has used, that was used, and that is in use. */
export async function policyLoads(served: Served, count: number): Promise<Figure[]> {
  const times = { cold: [] as number[], warm: [] as number[], hot: [] as number[] };
  const first = async (version: string, into: number[]): Promise<Robot> => {
    const started = performance.now();
    const robot = await connect(served, { reasoning: 'off', version });
    await robot.act(seen(served));
    into.push(performance.now() - started);
    return robot;
  };
  for (let i = 0; i < count; i++) {
    const version = await newVersion(served, i + 1);
    await leave(served, await first(version, times.cold));
    const held = await first(version, times.warm);
    await leave(served, await first(version, times.hot));
    await leave(served, held);
  }
  return Object.entries(times).map(([state, all]) => ({
    name: `${state} policy, session and first chunk`,
    value: quantile(all, 0.5),
    unit: 'ms',
  }));
}
