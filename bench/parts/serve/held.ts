import { ArmatureError } from '@armature/sdk/contract';
import { seeded } from '@armature/policy/data';
import { quantile } from '../../timing.ts';
import type { Figure } from '../../result.ts';
import { askInTurn, closeAll, connectAll } from './asking.ts';
import { seen, spec, type Reasoning, type Robot, type Served } from './fleet.ts';

const ARRIVALS = ['fixed', 'poisson'] as const;
type Arrivals = (typeof ARRIVALS)[number];

interface Load {
  readonly served: Served;
  /** At least as many as are tried. */
  readonly robots: readonly Robot[];
  /** Actions a second that each robot executes. */
  readonly rate: number;
  readonly arrivals: Arrivals;
  /** Length of one trial, ms. */
  readonly trialMs: number;
}

export interface HeldSize {
  /** Robots there are. */
  readonly pool: number;
  readonly rates: readonly number[];
  readonly trialMs: number;
}

const STEADY = ['off', 'every_chunk'] as const satisfies readonly Reasoning[];
const WAY_NAMES = { off: 'without reasoning', every_chunk: 'with reasoning' } as const;

/** Share of the chunks that may miss their deadline. */
const MISSES = 0.01;
/** The search ends when the numbers that hold and that do not are this close. */
const CLOSE = 0.1;

/** Robots held at each rate, by reasoning and arrivals. */
export async function heldRobots(
  fleet: readonly Served[],
  { pool, rates, trialMs }: HeldSize,
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
    for (const rate of rates) {
      for (const arrivals of ARRIVALS) {
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

/**
 * Most robots that are held at a rate: each asks for a chunk when it has executed half of the one
 * before, and needs it before the other half is used up, which 99 % of the chunks must keep.
 */
async function robotsHeld(load: Load, guess: number): Promise<number> {
  const most = load.robots.length;
  let holds = 0;
  let fails = most + 1;
  let next = Math.min(most, Math.max(1, guess));
  while (fails - holds > Math.max(1, holds * CLOSE)) {
    if (await isHeld(load, next)) holds = next;
    else fails = next;
    const further = fails > most ? Math.min(most, Math.ceil(holds * 1.5)) : fails;
    next = fails > most ? further : Math.floor((holds + fails) / 2);
    if (next === holds) break;
  }
  return holds;
}

async function isHeld(load: Load, count: number): Promise<boolean> {
  const halfMs = (1000 * spec.horizon) / 2 / load.rate;
  const until = performance.now() + Math.max(load.trialMs, 8 * halfMs);
  const latencies = (
    await Promise.all(
      load.robots.slice(0, count).map((robot, i) => drive(robot, load, { halfMs, until, seed: i })),
    )
  ).flat();
  if (latencies.length === 0) return false;
  const late = latencies.filter((ms) => ms > halfMs).length;
  return late / latencies.length <= MISSES && quantile(latencies, 0.99) <= halfMs;
}

/** Latencies of one robot's chunks from when they were due, ms; Infinity for one that did not come. */
async function drive(
  robot: Robot,
  { served, arrivals }: Load,
  { halfMs, until, seed }: { halfMs: number; until: number; seed: number },
): Promise<number[]> {
  const random = seeded(7, seed);
  const gap = (): number =>
    arrivals === 'fixed' ? halfMs : -Math.log(1 - random.uniform()) * halfMs;
  const latencies: number[] = [];
  const asked: Promise<void>[] = [];
  const observation = seen(served);
  for (let due = performance.now() + random.uniform() * halfMs; due < until; due += gap()) {
    const wait = due - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const answer = robot.act(observation).then(
      () => void latencies.push(performance.now() - due),
      (error: unknown) => {
        // A newer question of the robot's own took this one's place, as it should.
        if (error instanceof ArmatureError && error.code === 'cancelled') return;
        latencies.push(Infinity);
      },
    );
    asked.push(answer);
  }
  await Promise.all(asked);
  return latencies;
}
