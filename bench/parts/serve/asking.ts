import type { Chunk } from '@armature/sdk';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { Figure } from '../../result.ts';
import { latencyFigures } from '../../timing.ts';
import { connect, granted, leave, seen, type Reasoning, type Robot, type Served } from './fleet.ts';
import { inProcess } from './robot/robot-process.ts';

/** Chunks of each of many robots that do not count. */
const WARMUP = 10;
export const ROBOTS = 32;
/** How often 32 robots and one alone take turns, and the chunks of that one. */
const [TURNS, CHUNKS_ALONE] = [4, 10];

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

/**
 * Chunks of one robot that asks again as soon as it has the one before, in a process of its own, without those
 * in which both sides still compile what they run.
 */
export async function oneRobot(
  served: Served,
  reasoning: Reasoning,
  { chunks: count, warmup }: { readonly chunks: number; readonly warmup: number },
): Promise<Answer[]> {
  const grant = await granted(served, { reasoning });
  try {
    const { jpeg, pixels } = served;
    return await inProcess({ grant, jpeg, pixels, warmup, count });
  } finally {
    await served.client.sessions.end({ id: grant.session.id });
  }
}

export async function askInTurn(
  robot: Robot,
  served: Pick<Served, 'jpeg' | 'pixels'>,
  count: number,
): Promise<Answer[]> {
  const chunks: Answer[] = [];
  const observation = seen(served);
  while (chunks.length < count) {
    const { latencyMs, timings } = await robot.act(observation);
    chunks.push({ latencyMs, timings });
  }
  return chunks;
}

export interface ManyRobots {
  readonly figures: Figure[];
  readonly chunksPerS: number;
  /** Their chunks a second over those of runs of one row after the other. */
  readonly againstSolo: number;
}

/** 32 robots of all tenants at once, each as fast as it gets its chunks, and by turns one alone. */
export async function manyRobots(
  fleet: readonly Served[],
  chunksARobot: number,
): Promise<ManyRobots> {
  const robots = await connectAll(fleet, ROBOTS, 'every_chunk');
  const ask = async (count: number): Promise<Answer[]> =>
    (await Promise.all(robots.map(([robot, served]) => askInTurn(robot, served, count)))).flat();
  const [first] = robots;
  if (first === undefined) throw new Error('there is a robot');
  await ask(WARMUP);
  const chunks: Answer[] = [];
  const alone: number[] = [];
  let spentMs = 0;
  // By turns, so that a machine that has other work slows both.
  for (let turn = 0; turn < TURNS; turn++) {
    const solo = await askInTurn(...first, CHUNKS_ALONE);
    alone.push(...solo.map(({ timings }) => timings.infer_ms));
    const started = performance.now();
    chunks.push(...(await ask(chunksARobot)));
    spentMs += performance.now() - started;
  }
  const chunksPerS = (1000 * chunks.length) / spentMs;
  await closeAll(robots);
  const name = `${ROBOTS} robots of ${fleet.length} tenants, with reasoning`;
  const latencies = chunks.map(({ latencyMs }) => latencyMs);
  const rows = mean(chunks.map(({ timings }) => timings.batch));
  return {
    chunksPerS,
    againstSolo: chunksPerS / (1000 / mean(alone)),
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

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
