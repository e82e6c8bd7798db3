import type { Chunk } from '@armature/sdk';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { Figure } from '../../result.ts';
import { latencyFigures } from '../../timing.ts';
import { connect, leave, seen, type Reasoning, type Robot, type Served } from './fleet.ts';

/** Chunks of each robot that do not count. */
const WARMUP = 10;
export const ROBOTS = 32;

export type Answer = Pick<Chunk<EmbodimentSpec>, 'latencyMs' | 'timings'>;

export function robotFigures(name: string, chunks: readonly Answer[]): Figure[] {
  const overhead = chunks.map(({ latencyMs, timings }) => latencyMs - timings.infer_ms);
  const latencies = chunks.map(({ latencyMs }) => latencyMs);
  return [
    ...latencyFigures(`${name}: latency`, latencies),
    ...latencyFigures(`${name}: over the run`, overhead),
    ...latencyFigures(
      `${name}: of that decoding`,
      chunks.map(({ timings }) => timings.decode_ms),
    ),
    { name, value: 1000 / mean(latencies), unit: 'chunks/s' },
  ];
}

/** Chunks of one robot that asks again as soon as it has the one before, without the first few. */
export async function oneRobot(
  served: Served,
  reasoning: Reasoning,
  count: number,
): Promise<Answer[]> {
  const robot = await connect(served, { reasoning });
  try {
    return (await askInTurn(robot, served, WARMUP + count)).slice(WARMUP);
  } finally {
    await leave(served, robot);
  }
}

export async function askInTurn(robot: Robot, served: Served, count: number): Promise<Answer[]> {
  const chunks: Answer[] = [];
  const observation = seen(served);
  while (chunks.length < count) {
    const { latencyMs, timings } = await robot.act(observation);
    chunks.push({ latencyMs, timings });
  }
  return chunks;
}

/** 32 robots of all tenants at once, each as fast as it gets its chunks. */
export async function manyRobots(
  fleet: readonly Served[],
  chunksARobot: number,
): Promise<{ readonly figures: Figure[]; readonly chunksPerS: number }> {
  const robots = await connectAll(fleet, ROBOTS, 'every_chunk');
  const ask = async (count: number): Promise<Answer[]> =>
    (await Promise.all(robots.map(([robot, served]) => askInTurn(robot, served, count)))).flat();
  await ask(WARMUP);
  const started = performance.now();
  const chunks = await ask(chunksARobot);
  const chunksPerS = (1000 * chunks.length) / (performance.now() - started);
  await closeAll(robots);
  const name = `${ROBOTS} robots of ${fleet.length} tenants, with reasoning`;
  const latencies = chunks.map(({ latencyMs }) => latencyMs);
  const rows = mean(chunks.map(({ timings }) => timings.batch));
  return {
    chunksPerS,
    figures: [
      ...latencyFigures(name, latencies),
      { name, value: chunksPerS, unit: 'chunks/s' },
      { name: `${name}: rows a run`, value: rows, unit: '' },
    ],
  };
}

export type Pair = readonly [Robot, Served];

/** Robots, one tenant's after the other's. */
export async function connectAll(
  fleet: readonly Served[],
  count: number,
  reasoning: Reasoning,
): Promise<Pair[]> {
  const pairs: Pair[] = [];
  while (pairs.length < count) {
    const some = fleet.slice(0, count - pairs.length);
    const made = await Promise.all(some.map((served) => connect(served, { reasoning })));
    made.forEach((robot, i) => {
      const served = some[i];
      if (served !== undefined) pairs.push([robot, served]);
    });
  }
  return pairs;
}

export async function closeAll(pairs: readonly Pair[]): Promise<void> {
  await Promise.all(pairs.map(([robot, served]) => leave(served, robot)));
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
