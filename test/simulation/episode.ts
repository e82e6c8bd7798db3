import type { SessionClaims } from '@armature/sdk/contract';
import { accountFor, FATES, type Fate } from './account.ts';
import { Flooder } from './flood.ts';
import { SimControlPlane, type Issued } from './control-plane.ts';
import { Network } from './network.ts';
import { Random } from './random.ts';
import { SimRobot } from './robot.ts';
import { SimClock } from './sim-clock.ts';
import { Wire } from './wire.ts';
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

/** A worker that died is handed out for this long, ms. */
const FRESH_MS = 500;
/** After its worker's death a robot acts again within this, ms: the above, a few attempts, lost frames. */
const BACK_WITHIN_MS = FRESH_MS + 5_000;
/** What befalls one worker of a fleet. */
const MISHAPS = ['none', 'drain', 'die', 'restart', 'silence'] as const;
const GRACE_MS = 4_000;
/** After the last robot's goodbye no worker has a connection any more, ms: stalls of the network. */
const GONE_WITHIN_MS = 3_000;
/** Share of the seeds that have several workers, with tokens that run out. */
const FLEETS = 0.06;
/** Share of the others in which tenants flood their worker. */
const FLOODS = 0.07;
/** Clients of one tenant, and of a second one, that ask all the time, and for how long, ms. */
const FLOODERS = [8, 4] as const;
const FLOOD_MS = 900;
/** Share of the other seeds with faults in which a robot's path goes dark. */
const DARK = 0.06;
/** Share of the other seeds without faults in which a wall clock is set. */
const CLOCK_STEPS = 0.4;
/** Beyond three questions that come to nothing, a robot whose path went dark has another within this, ms. */
const LIGHT_WITHIN_MS = 3_000;
/** Robots act again within half of this after a clock was set, ms: a few chunks may be given up. */
const STEPPED_WITHIN_MS = 4_000;
/** Control ticks of a robot: in a fleet long enough for two renewals, after a mishap to act again. */
const TICKS = { alone: 16, fleet: 120, seenAgain: 140 } as const;

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
  /** Tokens that were renewed on a connection. */
  readonly refreshes: number;
  /** Connections that took the place of another. */
  readonly reconnects: number;
  /** Robots that lost a worker that died. */
  readonly orphaned: number;
  /** Tokens that somebody else tried, and those that nobody had used before. */
  readonly replays: number;
  readonly thefts: number;
  /** Observations of clients that flood, and rows that a newer one took the place of, or that were too late. */
  readonly flooded: number;
  readonly overtaken: number;
  readonly expired: number;
  /** What became of the chunks that were metered, and whether nothing went wrong. */
  readonly fates: Readonly<Record<Fate, number>>;
  readonly calm: boolean;
  /** Paths that went dark, and clocks that were set. */
  readonly darks: number;
  readonly steps: number;
}

/** What one seed has in its hands. */
interface Episode {
  readonly random: Random;
  readonly clock: SimClock;
  readonly cloud: SimControlPlane;
  readonly workers: readonly SimWorker[];
  readonly robots: readonly SimRobot[];
  readonly flooders: readonly Flooder[];
  /** Nothing goes wrong: no fault, no flood, no fleet. */
  readonly calm: boolean;
  readonly fates: Record<Fate, number>;
  /** What is found wrong while it goes on. */
  readonly violations: string[];
  /** Mishaps of the fleet that cut connections or leave them without a successor at once. */
  readonly seen: {
    orphaned: number;
    drained: number;
    replays: number;
    thefts: number;
    steps: number;
  };
}

/**
 * One seed: tenants of which some flood, robots on links of their own, engines that stall; in some
 * several workers that die, drain or are silent, tokens that run out, and somebody who steals them.
 * @throws Error with everything that was violated.
 */
export async function runEpisode(seed: number): Promise<EpisodeOutcome> {
  const episode = setUp(seed);
  const { clock, robots, flooders, workers, seen } = episode;
  await clock.until(Promise.all([...robots, ...flooders].map((one) => one.run())));
  if (workers.length > 1) await clock.until(aftermath(episode));
  const violations = [...episode.violations, ...check(episode)];
  if (violations.length > 0) throw new Error(violations.slice(0, 5).join('\n'));
  const sum = (of: (robot: SimRobot) => number): number =>
    robots.reduce((total, robot) => total + of(robot), 0);
  const sent = workers.reduce((total, worker) => total + worker.sent.length, 0);
  return {
    executed: sum((robot) => robot.executed.length),
    chunks: sent,
    starvedTicks: sum((robot) => robot.counter.starvedTicks),
    dropped: sum(({ stats: { dropped } }) => dropped.late + dropped.duplicate + dropped.foreign),
    cuts: sum((robot) => robot.cuts),
    stale: sum((robot) => robot.counter.staleChunks),
    guided: workers.reduce((total, worker) => total + worker.guided, 0),
    refreshes: sum((robot) => robot.stats.refreshes),
    reconnects: sum((robot) => robot.stats.reconnects),
    orphaned: seen.orphaned,
    replays: seen.replays,
    thefts: seen.thefts,
    flooded: flooders.reduce((total, { asked }) => total + asked, 0),
    overtaken: workers.reduce((total, { watch }) => total + watch.overtaken, 0),
    expired: workers.reduce((total, { watch }) => total + watch.expired, 0),
    fates: episode.fates,
    calm: episode.calm,
    darks: sum((robot) => robot.darks),
    steps: seen.steps,
  };
}

function setUp(seed: number): Episode {
  const random = new Random(seed);
  const clock = new SimClock();
  const faulty = random.chance(0.8);
  const isFleet = random.chance(FLEETS);
  const mishap = isFleet ? random.pick(MISHAPS) : 'none';
  const goesDark = faulty && !isFleet && random.chance(DARK);
  const isStepped = !faulty && !isFleet && !goesDark && random.chance(CLOCK_STEPS);
  const isFlooded = !isFleet && !goesDark && !isStepped && random.chance(FLOODS);
  const tenants = isFleet ? 2 : random.whole(2, 3);
  const shares = Array.from({ length: tenants }, () => (isFlooded ? random.whole(1, 3) : 1));
  const workers: SimWorker[] = [];
  const cloud = new SimControlPlane(clock, random, workers, {
    // A robot whose worker drains is to go for that reason, not since its token has to be renewed.
    tokenLifeMs: isFleet && mishap !== 'drain' ? random.between(4_500, 5_500) : 600_000,
    delayMs: random.between(5, 60),
    freshMs: FRESH_MS,
    loss: faulty ? 0.02 : 0,
  });
  for (let n = isFleet ? random.whole(2, 3) : 1; n > 0; n -= 1) {
    const costs = {
      // Slow ones are flooded by a dozen clients, which cost the simulation time as well.
      runMs: isFlooded ? random.between(20, 40) : random.between(5, 25),
      rowMs: isFlooded ? random.between(4, 10) : random.between(1, 8),
      stall: faulty ? 0.02 : 0,
      stallMs: random.between(50, 200),
    };
    const options = {
      engines: random.whole(1, 2),
      apart: random.chance(0.5),
      maxRows: random.whole(1, 4),
      tenantLimit: random.whole(2, 4),
      costs,
      decodeMs: random.between(0.2, 4),
      graceMs: GRACE_MS,
    };
    const verify = (token: string) => cloud.verify(token);
    workers.push(new SimWorker(`serve-${n}`, clock, random, options, verify));
  }
  const robots = Array.from({ length: tenants + random.whole(0, 1) }, (_, index) => {
    const link = (): Network =>
      new Network(clock, random, {
        delayMs: random.pick(ROUND_TRIPS) / 2,
        jitterMs: faulty && random.chance(0.5) ? random.between(0, 80) : 1,
        loss: faulty ? random.between(0, 0.08) : 0,
        doubled: faulty ? random.between(0, 0.08) : 0,
        stall: faulty ? 0.01 : 0,
        stallMs: random.between(100, 800),
      });
    const sleep =
      faulty && !isFleet && random.chance(0.25)
        ? { at: random.whole(3, 12), ms: random.between(200, 4000) }
        : undefined;
    // A robot that stood still goes on long enough to be seen moving again.
    const still = Math.ceil(((sleep?.ms ?? 0) * simSpec.control_hz) / 1000);
    return new SimRobot(
      clock,
      random,
      cloud,
      { up: link(), down: link() },
      {
        index,
        tenant: index < tenants ? index : 0,
        share: shares[index < tenants ? index : 0] ?? 1,
        reasoning: random.pick(CADENCES),
        maxAgeMs: random.between(500, 1200),
        clockOffset: random.between(-1e6, 1e6),
        tellsCapture: random.chance(0.5),
        maxInFlight: random.whole(1, 3),
        guided: random.chance(0.5),
        loop: { executeSteps: random.whole(2, 8) },
        ticks: TICKS[isFleet ? 'fleet' : goesDark || isStepped ? 'seenAgain' : 'alone'] + still,
        sleep,
      },
    );
  });
  for (const robot of robots) {
    if (faulty && random.chance(0.3)) {
      const at = random.between(100, 1000);
      const away = random.between(20, 400);
      clock.after(at, () => robot.cut(away));
    }
  }
  const flooders = isFlooded ? flood(random, clock, cloud, shares) : [];
  const seen = { orphaned: 0, drained: 0, replays: 0, thefts: 0, steps: 0 };
  const calm = !faulty && !isFleet && !isFlooded && !isStepped;
  const fates = Object.fromEntries(FATES.map((fate) => [fate, 0])) as Record<Fate, number>;
  const episode: Episode = {
    random,
    clock,
    cloud,
    workers,
    robots,
    flooders,
    calm,
    fates,
    violations: [],
    seen,
  };
  if (isFleet) mishaps(episode, mishap);
  if (goesDark) darken(episode);
  if (isStepped) step(episode);
  return episode;
}

/** Clients of a tenant, and of a second one in every other flood, that ask as often as they may. */
function flood(
  random: Random,
  clock: SimClock,
  cloud: SimControlPlane,
  shares: readonly number[],
): Flooder[] {
  const of = random.chance(0.5) ? FLOODERS : FLOODERS.slice(0, 1);
  const first = random.whole(0, shares.length - 1);
  return of.flatMap((clients, which) =>
    Array.from({ length: clients }, (_, n) => {
      const tenant = (first + which) % shares.length;
      const options = {
        index: 100 + 20 * which + n,
        tenant,
        share: shares[tenant] ?? 1,
        maxHz: random.between(8, 60),
        maxInFlight: random.whole(1, 2),
        deadlineMs: random.between(30, 200),
        forMs: FLOOD_MS,
      };
      return new Flooder(clock, random, cloud, options);
    }),
  );
}

/** A robot's path goes dark for good: it leaves that connection for another. */
function darken({ random, clock, cloud, robots, violations }: Episode): void {
  const robot = random.pick(robots as [SimRobot, ...SimRobot[]]);
  clock.after(random.between(100, 600), () => {
    const before = cloud.epochOf(robot.id);
    robot.goDark();
    if (robot.darks === 0) return;
    const { maxAgeMs, sleep } = robot.options;
    clock.after(3 * maxAgeMs + (sleep?.ms ?? 0) + LIGHT_WITHIN_MS, () => {
      if (robot.finished || robot.epoch > before) return;
      violations.push(`${robot.id} stayed on a path that went dark`);
    });
  });
}

/** The wall clock of a robot or of its worker is set, forward or back: robots that acted go on all the same. */
function step({ random, clock, workers, robots, seen, violations }: Episode): void {
  const who = random.pick([...robots, ...workers] as [SimRobot | SimWorker]);
  clock.after(random.between(200, 2_000), () => {
    const at = clock.now();
    const concerned = robots.filter(
      (robot) =>
        (robot === who || robot.at === who.id) && robot.executing.at > at - STEPPED_WITHIN_MS / 2,
    );
    who.stepClock(random.between(300, 20_000) * (random.chance(0.5) ? 1 : -1));
    seen.steps += 1;
    clock.after(STEPPED_WITHIN_MS, () => {
      for (const robot of concerned) {
        if (robot.finished || robot.executing.at > at + STEPPED_WITHIN_MS / 2) continue;
        violations.push(`${robot.id} did not act again after the clock of ${who.id} was set`);
      }
    });
  });
}

/** What goes wrong in a fleet: one worker at most, the control plane for a while, and a thief. */
function mishaps(episode: Episode, mishap: (typeof MISHAPS)[number]): void {
  const { random, clock, cloud, workers, seen } = episode;
  const worker = random.pick(workers as [SimWorker, ...SimWorker[]]);
  clock.after(random.between(300, 2_500), () => {
    if (mishap === 'drain') {
      seen.drained += worker.sessions;
      worker.drain();
    } else if (mishap === 'silence') {
      worker.goSilent(random.between(1_000, 4_000));
    } else if (mishap !== 'none') {
      die(episode, worker);
      if (mishap === 'restart') clock.after(random.between(50, 1_500), () => worker.restart());
    }
  });
  if (random.chance(0.5)) {
    clock.after(random.between(0, 5_000), () => cloud.goDown(random.between(50, 300)));
  }
  for (let n = 0; n < 4; n += 1) clock.after(random.between(100, 6_500), () => replay(episode));
  if (random.chance(0.3)) {
    cloud.onGrant = ({ token }, at) => {
      if (seen.thefts > 0 || !random.chance(0.3)) return;
      seen.thefts += 1;
      steal(episode, at, token).catch(() => undefined);
    };
  }
}

function die({ clock, cloud, robots, seen, violations }: Episode, worker: SimWorker): void {
  const orphans = robots.filter((robot) => robot.at === worker.id && !robot.finished);
  const before = orphans.map((robot) => ({ robot, epoch: cloud.epochOf(robot.id) }));
  seen.orphaned += orphans.length;
  worker.die();
  clock.after(BACK_WITHIN_MS, () => {
    for (const { robot, epoch } of before) {
      if (robot.finished || robot.executing.epoch > epoch) continue;
      violations.push(`${robot.id} did not act again after ${worker.id} died`);
    }
  });
}

/** Somebody shows a worker a token that was used there, or is for another worker. */
function replay(episode: Episode): void {
  const { random, cloud, workers } = episode;
  const worker = random.pick(workers as [SimWorker, ...SimWorker[]]);
  const [first, ...others] = worthlessAt(worker, cloud);
  if (first !== undefined) void tried(episode, worker, random.pick([first, ...others]));
}

/** What was issued and is for another worker, or was used at this one. */
function worthlessAt(worker: SimWorker, cloud: SimControlPlane): Issued[] {
  return cloud.issued.filter(
    ({ verified: { claims } }) =>
      claims.worker !== worker.id || claims.epoch <= worker.highestEpoch(claims.sub),
  );
}

async function tried(episode: Episode, worker: SimWorker, { token, verified }: Issued) {
  const { seen, violations } = episode;
  const { sub, epoch, worker: of } = verified.claims;
  seen.replays += 1;
  await steal(episode, worker, token).then(
    () =>
      violations.push(`epoch ${epoch} of ${sub} for ${of} was taken at ${worker.id} from a thief`),
    () => undefined,
  );
}

/** When all robots have gone nobody is left at a worker, and nothing that was used opens it again. */
async function aftermath(episode: Episode): Promise<void> {
  const { clock, cloud, workers, seen, violations } = episode;
  await clock.sleep(GONE_WITHIN_MS);
  const left = workers.reduce((total, worker) => total + worker.sessions, 0);
  if (left > seen.thefts) violations.push(`${left} connections were left behind`);
  for (const worker of workers) {
    worker.restart();
    for (const issued of worthlessAt(worker, cloud)) await tried(episode, worker, issued);
  }
}

/** @throws ArmatureError as the worker refuses. */
async function steal(
  { clock, random, cloud }: Episode,
  worker: SimWorker,
  token: string,
): Promise<void> {
  const calm = { delayMs: 5, jitterMs: 0, loss: 0, doubled: 0, stall: 0, stallMs: 0 };
  const network = (): Network => new Network(clock, random, calm);
  const { claims } = await cloud.verify(token);
  const wire = new Wire({
    clock,
    up: network(),
    down: network(),
    events: { message: () => undefined, close: () => undefined },
    onSent: (end, frame) => worker.onSent(claims.sub, end, frame),
    stray: () => false,
  });
  await worker.upgrade(token, wire);
}

function check({ workers, robots, flooders, seen, calm, fates }: Episode): string[] {
  const found = [
    ...workers.flatMap(({ id, violations, watch }) =>
      [...violations, ...watch.violations].map((text) => `${id}: ${text}`),
    ),
    ...robots.flatMap((robot) => robot.violations.map((text) => `${robot.id}: ${text}`)),
  ];
  const usage = workers.flatMap((worker) => worker.usage);
  const chunks = workers.flatMap((worker) => worker.sent);
  const owed = new Map(usage.map((entry) => [entry.id, entry]));
  if (owed.size !== usage.length) found.push('a chunk was metered twice');
  const sent = new Set(chunks);
  if (sent.size !== chunks.length) found.push('a chunk was sent twice');
  for (const id of sent) if (!owed.has(id)) found.push(`${id} was sent and not metered`);
  // What a session had just recorded when its connection ended is the only thing owed and not sent.
  const ends = robots.reduce(
    (total, robot) => total + robot.cuts + robot.stats.reconnects,
    robots.length + flooders.length + seen.orphaned,
  );
  const unsent = [...owed.keys()].filter((id) => !sent.has(id));
  if (unsent.length > ends) found.push(`${unsent.length} chunks were metered and not sent`);
  for (const robot of robots) {
    const own = usage.filter((entry) => entry.session_id === robot.id);
    try {
      const account = accountFor(robot, own, sent, calm);
      for (const fate of FATES) fates[fate] += account[fate];
    } catch (error) {
      found.push(String(error));
    }
    for (const id of new Set(robot.executed)) {
      const entry = owed.get(id);
      if (entry?.tenant_id !== robot.tenantId || entry.session_id !== robot.id) {
        found.push(`${robot.id} executed ${id}, metered to ${entry?.session_id ?? 'nobody'}`);
      }
    }
    if (robot.executed.length === 0) found.push(`${robot.id} never moved`);
    if (robot.told.includes('expired_token')) found.push(`${robot.id} let its token run out`);
    // A drain, a renewal and a move to another worker leave no robot without a connection.
    const lost = robot.cuts + robot.darks + seen.orphaned + seen.thefts;
    // A worker lets go of the one before as soon as there is a newer, which the robot asks for when it hears nothing.
    const silences = robot.told.filter((code) => code === 'timeout').length / 3;
    if (robot.without > lost + silences)
      found.push(`${robot.id} was without a connection for no reason`);
  }
  return found;
}
