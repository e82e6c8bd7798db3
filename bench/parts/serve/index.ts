import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { startPlatform } from '@armature/infra/platform';
import type { Chunk } from '@armature/sdk';
import type { EmbodimentSpec } from '@armature/sdk/contract';
import type { Figure, PartMeasurement, PartOptions } from '../../result.ts';
import { latencyFigures, quantile } from '../../timing.ts';
import { againstOpenpi } from './against-openpi.ts';
import {
  connect,
  leave,
  newTenant,
  newVersion,
  prepare,
  seen,
  type Reasoning,
  type Robot,
  type Served,
} from './fleet.ts';
import { robotsHeld, type Arrivals } from './held.ts';
import { Way } from './way.ts';

const ROBOTS = 32;
const WARMUP = 10;
const STEADY = ['off', 'every_chunk'] as const satisfies readonly Reasoning[];
const WAY_NAMES = { off: 'without reasoning', every_chunk: 'with reasoning' } as const;

/** How much is measured: all of it, or just enough to see that it works. */
const SIZES = {
  full: {
    chunks: 200,
    chunksARobot: 20,
    tenants: 8,
    pool: 160,
    rates: [10, 20, 50, 80],
    trialMs: 3_000,
    loads: 3,
    cuts: 10,
    peerMs: 4_000,
  },
  quick: {
    chunks: 20,
    chunksARobot: 5,
    tenants: 2,
    pool: 24,
    rates: [20],
    trialMs: 800,
    loads: 1,
    cuts: 2,
    peerMs: 800,
  },
} as const;
type Size = (typeof SIZES)[keyof typeof SIZES];

/**
 * The whole platform over loopback: what it adds to one robot's runs, how many robots it holds, many
 * tenants in one batch, policies that come and go, connections that break, and its openpi endpoint
 * beside openpi's own loop.
 */
export async function measureServe(options: PartOptions): Promise<PartMeasurement> {
  const { scratch, threads, quick } = options;
  const size: Size = quick ? SIZES.quick : SIZES.full;
  const platform = await startPlatform({
    dir: path.join(scratch, 'platform'),
    environment: {
      PATH: process.env['PATH'] ?? '',
      ENGINE_THREADS: String(threads),
      // What is held is found by measuring; nothing is refused beforehand.
      ADMISSION_FILL: '100',
      LOG_LEVEL: 'warn',
    },
    durable: false,
  });
  try {
    const fleet: Served[] = [];
    for (let i = 0; i < size.tenants; i++) {
      fleet.push(await prepare(await newTenant(platform, `bench ${i}`), scratch));
    }
    const [served] = fleet;
    if (served === undefined) throw new Error('there is a tenant');
    const off = await oneRobot(served, 'off', size.chunks);
    const every = await oneRobot(served, 'every_chunk', size.chunks);
    const mixed = await manyRobots(fleet, size);
    const held = await heldRobots(fleet, size, mixed.chunksPerS);
    const loads = await policyLoads(served, size.loads);
    const way = await theWay(served, size.cuts);
    const peers = await againstOpenpi(size.peerMs);
    const overhead = off.map(({ latencyMs, timings }) => latencyMs - timings.infer_ms);
    const soloPerS = 1000 / mean(every.map(({ timings }) => timings.infer_ms));
    const mixedVsSolo = mixed.chunksPerS / soloPerS;
    return {
      figures: [
        ...peakMemory(platform.pid('serve')),
        ...robotFigures('one robot, without reasoning', off),
        ...robotFigures('one robot, with reasoning', every),
        ...mixed.figures,
        { name: `${ROBOTS} robots against runs one by one`, value: mixedVsSolo, unit: 'times' },
        ...held.figures,
        ...loads,
        ...way,
        ...peers.figures,
      ],
      summary: {
        overhead_ms: { p50: quantile(overhead, 0.5), p99: quantile(overhead, 0.99) },
        held_actions_per_s: held.most,
        ratios: { mixed_vs_solo: mixedVsSolo, ...peers.ratios },
      },
    };
  } finally {
    await platform.stop();
  }
}

/** Peak resident memory of a process, where the system tells it. */
function peakMemory(pid: number | undefined): Figure[] {
  const status = `/proc/${pid ?? ''}/status`;
  if (!existsSync(status)) return [];
  const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(status, 'utf8'))?.[1];
  if (kilobytes === undefined) return [];
  return [{ name: 'worker, peak memory', value: (Number(kilobytes) * 1024) / 1e6, unit: 'MB' }];
}

type Answer = Pick<Chunk<EmbodimentSpec>, 'latencyMs' | 'timings'>;

function robotFigures(name: string, chunks: readonly Answer[]): Figure[] {
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
async function oneRobot(served: Served, reasoning: Reasoning, count: number): Promise<Answer[]> {
  const robot = await connect(served, { reasoning });
  try {
    return (await askInTurn(robot, served, WARMUP + count)).slice(WARMUP);
  } finally {
    await leave(served, robot);
  }
}

async function askInTurn(robot: Robot, served: Served, count: number): Promise<Answer[]> {
  const chunks: Answer[] = [];
  const observation = seen(served);
  while (chunks.length < count) {
    const { latencyMs, timings } = await robot.act(observation);
    chunks.push({ latencyMs, timings });
  }
  return chunks;
}

/** 32 robots of all tenants at once, each as fast as it gets its chunks. */
async function manyRobots(
  fleet: readonly Served[],
  { chunksARobot }: Size,
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

/** Robots held at each rate, by reasoning and arrivals. */
async function heldRobots(
  fleet: readonly Served[],
  { pool, rates, trialMs }: Size,
  chunksPerS: number,
) {
  const figures: Figure[] = [];
  const most = { with_reasoning: 0, without_reasoning: 0 };
  for (const reasoning of STEADY) {
    const robots = await connectAll(fleet, pool, reasoning);
    // Graphs for as many robots as there are get warm behind their backs.
    for (let i = 0; i < 3; i++) {
      await Promise.all(robots.map(([robot, served]) => askInTurn(robot, served, 2)));
    }
    const key = reasoning === 'off' ? 'without_reasoning' : 'with_reasoning';
    const kinds: readonly Arrivals[] = reasoning === 'off' ? ['fixed', 'poisson'] : ['fixed'];
    for (const rate of rates) {
      for (const arrivals of kinds) {
        const load = { robots: robots.map(([robot]) => robot), rate, arrivals, trialMs };
        const guess = Math.floor((0.8 * chunksPerS * 8) / rate);
        const [, served] = robots[0] ?? [];
        if (served === undefined) throw new Error('there is a robot');
        const held = await robotsHeld({ ...load, served }, guess);
        const name = `robots held at ${rate} actions/s, ${arrivals}, ${WAY_NAMES[reasoning]}`;
        figures.push({ name, value: held, unit: held === pool ? 'robots or more' : 'robots' });
        if (arrivals === 'fixed') most[key] = Math.max(most[key], held * rate);
      }
    }
    await closeAll(robots);
  }
  for (const [key, value] of Object.entries(most)) {
    figures.push({ name: `held, ${key.replace('_', ' ')}`, value, unit: 'actions/s' });
  }
  return { figures, most };
}

/** Time to the first chunk of a version that nobody has used, that was used, and that is in use. */
async function policyLoads(served: Served, count: number): Promise<Figure[]> {
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

/** What one observation weighs, and how long a robot is without chunks when its connection breaks. */
async function theWay(served: Served, cuts: number): Promise<Figure[]> {
  const way = await Way.start();
  const robot = await connect(served, { reasoning: 'off', route: way.route });
  const weigh = async (how: 'jpeg' | 'pixels'): Promise<number> => {
    await robot.act(seen(served, how));
    const before = way.up;
    await robot.act(seen(served, how));
    return way.up - before;
  };
  const [jpeg, raw] = [await weigh('jpeg'), await weigh('pixels')];
  const gaps: number[] = [];
  for (let i = 0; i < cuts; i++) {
    const started = performance.now();
    way.cut();
    // The robot may learn of the cut by a question that it breaks off.
    while (!(await robot.act(seen(served)).then(Boolean, () => false)));
    gaps.push(performance.now() - started);
  }
  await leave(served, robot);
  await way.close();
  return [
    { name: 'observation as JPEG', value: jpeg / 1000, unit: 'kB' },
    { name: 'observation as raw pixels', value: raw / 1000, unit: 'kB' },
    ...latencyFigures('connection broken, next chunk', gaps),
  ];
}

type Pair = readonly [Robot, Served];

/** Robots, one tenant's after the other's. */
async function connectAll(
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

async function closeAll(pairs: readonly Pair[]): Promise<void> {
  await Promise.all(pairs.map(([robot, served]) => leave(served, robot)));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
