import type { SessionClaims } from '@armature/sdk/contract';
import { Network } from './network.ts';
import { Random } from './random.ts';
import { SimRobot } from './robot.ts';
import { SimClock } from './sim-clock.ts';
import { simSpec, SimWorker } from './worker.ts';

/** Round trips that links are drawn from, ms: 5G, far cloud, 4G to a far cloud. */
const ROUND_TRIPS = [25, 100, 273] as const;
const CADENCES: readonly [SessionClaims['reasoning'], ...SessionClaims['reasoning'][]] = [
  { when: 'every_chunk' },
  { when: 'interval', ms: 300 },
  { when: 'instruction_change' },
  { when: 'change', scene: 0.1 },
  { when: 'off' },
];

export interface EpisodeOutcome {
  readonly executed: number;
  readonly chunks: number;
  readonly starvedTicks: number;
  readonly dropped: number;
  readonly cuts: number;
  /** Plans that were dropped because their robot had stood still, and chunks that came too late. */
  readonly stale: number;
  /** Rows that were to go on from the chunk in execution. */
  readonly guided: number;
}

/**
 * One seed: tenants of which the first floods, robots on links of their own, engines that stall.
 * @throws Error with everything that was violated.
 */
export async function runEpisode(seed: number): Promise<EpisodeOutcome> {
  const random = new Random(seed);
  const clock = new SimClock();
  const faulty = random.chance(0.8);
  const tenants = random.whole(2, 3);
  const worker = new SimWorker(clock, random, {
    engines: random.whole(1, 2),
    apart: random.chance(0.5),
    maxRows: random.whole(1, 4),
    tenantLimit: random.whole(2, 4),
    costs: {
      runMs: random.between(5, 25),
      rowMs: random.between(1, 8),
      stall: faulty ? 0.02 : 0,
      stallMs: random.between(50, 200),
    },
    decodeMs: random.between(0.2, 4),
  });
  const robots = Array.from({ length: tenants + random.whole(0, 1) }, (_, index) => {
    const link = (): Network =>
      new Network(clock, random, {
        delayMs: random.pick(ROUND_TRIPS) / 2,
        jitterMs: random.chance(0.5) ? random.between(0, 80) : 1,
        loss: faulty ? random.between(0, 0.08) : 0,
        doubled: faulty ? random.between(0, 0.08) : 0,
        stall: faulty ? 0.01 : 0,
        stallMs: random.between(100, 800),
      });
    const sleep =
      faulty && random.chance(0.25)
        ? { at: random.whole(3, 12), ms: random.between(200, 4000) }
        : undefined;
    return new SimRobot(
      clock,
      worker,
      { up: link(), down: link() },
      {
        index,
        tenant: index < tenants ? index : 0,
        reasoning: random.pick(CADENCES),
        maxAgeMs: random.between(500, 1200),
        clockOffset: random.between(-1e6, 1e6),
        maxInFlight: random.whole(1, 3),
        guided: random.chance(0.5),
        loop: { executeSteps: random.whole(2, 8) },
        // A robot that stood still goes on long enough to be seen moving again.
        ticks: 30 + Math.ceil(((sleep?.ms ?? 0) * simSpec.control_hz) / 1000),
        sleep,
      },
    );
  });
  for (const robot of robots) {
    if (faulty && random.chance(0.3)) {
      const at = random.between(200, 1400);
      const away = random.between(20, 400);
      clock.after(at, () => robot.cut(away));
    }
  }
  await clock.until(Promise.all(robots.map((robot) => robot.run())));
  const violations = [...worker.violations, ...check(worker, robots, tenants)];
  if (violations.length > 0) throw new Error(violations.slice(0, 5).join('\n'));
  const sum = (of: (robot: SimRobot) => number): number =>
    robots.reduce((total, robot) => total + of(robot), 0);
  return {
    executed: sum((robot) => robot.executed.length),
    chunks: worker.sent.length,
    starvedTicks: sum((robot) => robot.counter.starvedTicks),
    dropped: sum(({ dropped }) => dropped.late + dropped.duplicate + dropped.foreign),
    cuts: sum((robot) => robot.cuts),
    stale: sum((robot) => robot.counter.staleChunks),
    guided: worker.guided,
  };
}

function check(worker: SimWorker, robots: readonly SimRobot[], tenants: number): string[] {
  const found = robots.flatMap((robot) =>
    robot.violations.map((text) => `robot ${robot.options.index}: ${text}`),
  );
  const owed = new Map(worker.usage.map((entry) => [entry.id, entry]));
  if (owed.size !== worker.usage.length) found.push('a chunk was metered twice');
  const sent = new Set(worker.sent);
  if (sent.size !== worker.sent.length) found.push('a chunk was sent twice');
  for (const id of sent) if (!owed.has(id)) found.push(`${id} was sent and not metered`);
  // What a session had just recorded when its link broke is the only thing owed and not sent.
  const cuts = robots.reduce((total, robot) => total + robot.cuts, 0) + robots.length;
  const unsent = [...owed.keys()].filter((id) => !sent.has(id));
  if (unsent.length > cuts) found.push(`${unsent.length} chunks were metered and not sent`);
  for (const robot of robots) {
    for (const id of new Set(robot.executed)) {
      const entry = owed.get(id);
      if (
        entry?.tenant_id !== robot.tenantId ||
        entry.session_id !== `ses_${robot.options.index}`
      ) {
        found.push(
          `robot ${robot.options.index} executed ${id}, metered to ${entry?.session_id ?? 'nobody'}`,
        );
      }
    }
    if (robot.executed.length === 0) found.push(`robot ${robot.options.index} never moved`);
  }
  // A tenant with one robot is within its share: it waits for the run under way, for as many runs
  // as the others may be ahead, and for those of other kinds.
  const bound = (tenants + 5) * worker.longestRun;
  for (const [tenant, wait] of worker.longestWait) {
    const robotsOf = robots.filter((robot) => robot.tenantId === tenant).length;
    if (robotsOf === 1 && wait > bound) found.push(`${tenant} waited ${wait} ms, over ${bound}`);
  }
  return found;
}
