import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArmatureError } from '../../contract/index.ts';
import { SessionRecorder } from '../recording/recorder.ts';
import { arm, seen } from '../testing/two-joint-arm.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { Chunk } from './chunk.ts';
import { actionRows } from './observation.ts';
import { runLoop, type Actor, type MeasuredDelay, type RunOptions } from './run.ts';
import { StatsCounter } from './stats.ts';

type Arm = Omit<typeof arm, 'when_starved'> & { readonly when_starved: 'hold' | 'stop' };
type Answer = number | ArmatureError;

interface Outcome {
  /** First value of every executed action. */
  readonly executed: number[];
  readonly stats: ReturnType<StatsCounter['snapshot']>;
  readonly reported: number[];
  /** Commands that were told beside the step, undefined where the step was the chunk's own. */
  readonly commands: (number | undefined)[];
  readonly delays: (MeasuredDelay | undefined)[];
  readonly asked: number[];
  readonly errors: string[];
  readonly starved: string[];
}

interface Simulated {
  readonly robot?: Arm;
  /** Nobody listens for ticks without an action. */
  readonly unheard?: true;
}

/**
 * Runs the loop at 50 Hz in virtual time against a worker whose n-th answer takes `answers(n)` ms, or
 * is an error 5 ms later. A chunk is made for the robot's position when it was seen: the number of
 * actions executed so far. Step s of it holds that number + s, so what is executed counts upwards
 * by one as long as no step is lost, repeated or stale.
 */
async function simulate(
  answers: (n: number, at: number) => Answer,
  options: Partial<RunOptions<Arm>> & Simulated = {},
  clock = new VirtualClock(),
): Promise<Outcome> {
  const counter = new StatsCounter();
  const executed: number[] = [];
  const reported: number[] = [];
  const commands: (number | undefined)[] = [];
  const delays: (MeasuredDelay | undefined)[] = [];
  const asked: number[] = [];
  const errors: string[] = [];
  const starved: string[] = [];
  const actor: Actor<Arm> = {
    embodiment: options.robot ?? arm,
    status: 'ready',
    async act(observation, { signal, delay }) {
      delays.push(delay);
      const base = observation.state instanceof Float32Array ? 0 : observation.state.shoulder;
      const answer = answers(asked.length, clock.now());
      asked.push(clock.now());
      await clock.sleep(typeof answer === 'number' ? answer : 5, signal);
      if (typeof answer !== 'number') throw answer;
      counter.chunks += 1;
      return chunkAt(base, asked.length);
    },
    report: (_, steps, command) => {
      reported.push(steps);
      commands.push(
        command === undefined || command instanceof Float32Array ? undefined : command.shoulder,
      );
    },
  };
  const stats = await clock.until(
    runLoop(actor, counter, {
      clock,
      observe: () => seen(executed.length),
      execute: (row) => {
        executed.push(row.shoulder);
      },
      onError: (error) => errors.push(error.code),
      ...(options.unheard === true
        ? {}
        : { onStarved: (mode, last) => starved.push(`${mode} ${last.shoulder}`) }),
      ticks: 200,
      ...options,
    }),
  );
  return { executed, stats, reported, commands, delays, asked, errors, starved };
}

function chunkAt(base: number, seq: number): Chunk<Arm> {
  const actions = Float32Array.from({ length: 16 }, (_, i) => base + Math.floor(i / 2));
  return {
    chunkId: `c${seq}`,
    seq,
    epoch: 1,
    actions,
    rows: actionRows(arm, actions),
    reasoning: null,
    policyVersion: 'pv_1',
    statsHash: 's',
    clamped: 0,
    timings: { decode_ms: 0, queue_ms: 0, infer_ms: 0, total_ms: 0, batch: 1 },
    latencyMs: 0,
    capturedAt: 0,
  };
}

const counting = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

describe('the control loop', () => {
  it('executes one action a tick without a gap while answers take less than a chunk', async () => {
    const { executed, stats, starved } = await simulate(() => 60);
    expect(executed).toEqual(counting(200));
    expect(stats).toMatchObject({
      actionsExecuted: 200,
      starvedTicks: 0,
      staleChunks: 0,
      overrunTicks: 0,
    });
    expect(starved).toEqual([]);
  });

  it('asks no earlier than the answer needs: a fast worker is asked near the end of a chunk', async () => {
    const { asked } = await simulate(() => 15);
    const gaps = asked.slice(4).map((at, i) => at - asked[i + 3]!);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(120);
  });

  it('loses no step of a first chunk that was slow: nothing was executed meanwhile', async () => {
    const { executed, stats, reported } = await simulate((n) => (n === 0 ? 600 : 40));
    expect(executed.slice(0, 8)).toEqual(counting(8));
    expect(reported[0]).toBe(1);
    expect(stats.starvedTicks).toBe(0);
  });

  it('a slow start does not stretch the plan: later questions are as late as ever', async () => {
    const slow = await simulate((n) => (n === 0 ? 600 : 40));
    const even = await simulate(() => 40);
    expect(slow.asked.length).toBe(even.asked.length);
  });

  it.each([100, 130, 141, 150, 159, 161, 200, 330])(
    'asks for no chunk that comes with all its steps past, on a way of %i ms',
    async (ms) => {
      const { executed, stats } = await simulate(() => ms, { executeSteps: 2 });
      expect(stats.chunks).toBeGreaterThan(10);
      expect(stats.staleChunks).toBe(0);
      expect(executed).toEqual(counting(executed.length));
    },
  );

  it('drops the steps that are past when a chunk arrives', async () => {
    const { reported } = await simulate(() => 70, { ticks: 30 });
    // 70 ms is 3 to 4 ticks of 20 ms: later chunks begin at their step 4, reported as 5 of 8.
    expect(reported.slice(0, 8)).toContain(1);
    expect(reported.slice(8).every((steps) => steps > 3)).toBe(true);
  });

  it('holds when nothing is left, counts that, and goes on without repeating a step', async () => {
    const { executed, stats, starved } = await simulate((n) => (n === 3 ? 500 : 50));
    expect(executed).toEqual(counting(executed.length));
    expect(stats.starvedTicks).toBeGreaterThan(10);
    expect(stats.starvedTicks + executed.length).toBe(200);
    expect(new Set(starved).size).toBe(1);
    expect(starved[0]).toMatch(/^hold \d+$/);
  });

  it('never executes a chunk that is too old', async () => {
    const { executed, stats } = await simulate((n) => (n % 5 === 4 ? 700 : 50), { maxAgeMs: 400 });
    expect(stats.staleChunks).toBeGreaterThan(0);
    expect(executed).toEqual(counting(executed.length));
  });

  it('holds when every chunk comes too late, says so, and goes on once they are in time', async () => {
    const { executed, stats, errors, starved } = await simulate(
      (n) => (n > 0 && n < 7 ? 450 : 40),
      { maxAgeMs: 300, ticks: 250 },
    );
    expect(stats.staleChunks).toBe(6);
    expect(errors).toEqual(['timeout', 'timeout']);
    expect(starved.length).toBeGreaterThan(100);
    expect(executed).toEqual(counting(executed.length));
    expect(executed.length).toBeGreaterThan(20);
  });

  it.each(['in executing', 'in looking', 'with its computer'])(
    'executes nothing of what it had planned before it stood still %s for long',
    async (where) => {
      const clock = new VirtualClock();
      const [maxAgeMs, period] = [500, 20];
      const late: number[] = [];
      const executedAt: number[] = [];
      const stop = new AbortController();
      const stoodAt: number[] = [];
      const stand = async (): Promise<void> => {
        if (executedAt.length < 20 || stoodAt.length > 0) return;
        stoodAt.push(clock.now());
        if (where === 'with its computer') clock.leap(30_000);
        else await clock.sleep(30_000, stop.signal);
      };
      const { stats } = await simulate(
        () => 40,
        {
          maxAgeMs,
          ticks: 1700,
          record: new SessionRecorder(arm),
          // What is seen is the time: step k of its chunk then says that time and k.
          observe: async () => {
            const now = clock.now();
            if (where === 'in looking') await stand();
            return seen(now);
          },
          execute: async (row, { step }) => {
            executedAt.push(clock.now());
            late.push(clock.now() - (row.shoulder - step + step * period));
            if (where !== 'in looking') await stand();
          },
        },
        clock,
      );
      expect(stats.staleChunks).toBeGreaterThan(0);
      const [held = Infinity] = stoodAt;
      expect(executedAt.some((at) => at >= held + 30_000)).toBe(true);
      expect(Math.max(...late)).toBeLessThanOrEqual(maxAgeMs);
    },
  );

  it('tells a robot that stops when it is starved, at every such tick', async () => {
    const robot: Arm = { ...arm, when_starved: 'stop' };
    const said: string[] = [];
    const { executed, stats } = await simulate((n) => (n === 3 ? 500 : 50), {
      robot,
      onStarved: (mode, last) => said.push(`${mode} ${last.shoulder}`),
    });
    expect(said).toHaveLength(stats.starvedTicks);
    expect(new Set(said).size).toBe(1);
    expect(said[0]).toMatch(/^stop \d+$/);
    expect(executed).toEqual(counting(executed.length));
  });

  it('does not begin where nobody could stop a robot that must be stopped', async () => {
    const robot: Arm = { ...arm, when_starved: 'stop' };
    const asked: number[] = [];
    const run = simulate((n) => asked.push(n), { robot, unheard: true });
    await expect(run).rejects.toMatchObject({ code: 'invalid_request', field: 'onStarved' });
    expect(asked).toEqual([]);
    const holds = await simulate((n) => (n === 3 ? 500 : 50), { unheard: true });
    expect(holds.stats.starvedTicks).toBeGreaterThan(10);
    expect(holds.executed).toEqual(counting(holds.executed.length));
  });

  it('tells the command that a mixed step became', async () => {
    const { executed, commands, reported } = await simulate(() => 50, {
      aggregate: 'average',
      executeSteps: 4,
      observe: ({ tick }) => seen(tick),
      ticks: 60,
    });
    expect(reported).toHaveLength(executed.length);
    expect(commands.slice(0, 4)).toEqual(new Array(4).fill(undefined));
    const mixed = commands.flatMap((command, i) => (command === undefined ? [] : [[command, i]]));
    expect(mixed.length).toBeGreaterThan(20);
    for (const [command, i] of mixed) expect(command).toBe(executed[i ?? 0]);
  });

  it('asks for nothing while the robot has hardly moved, and always when nothing is left', async () => {
    const still = await simulate(() => 20, {
      observe: () => seen(0.5),
      similar: { shoulder: 0.1 },
    });
    const always = await simulate(() => 20, { observe: () => seen(0.5) });
    expect(still.stats.similarSkipped).toBeGreaterThan(10);
    expect(still.asked.length).toBeLessThanOrEqual(always.asked.length);
    expect(still.stats.actionsExecuted).toBeGreaterThan(150);
    const moving = await simulate(() => 20, { similar: { shoulder: 0.1, elbow: 0.1 } });
    expect(moving.stats.similarSkipped).toBe(0);
    expect(moving.executed).toEqual(counting(200));
  });

  it('tells the worker what the chunk before cost', async () => {
    const { delays } = await simulate(() => 70, { ticks: 60 });
    expect(delays[0]).toBeUndefined();
    expect(delays[1]).toEqual({ steps: 0, latencyMs: 70 });
    expect(delays.at(-1)).toEqual({ steps: 4, latencyMs: 70 });
  });

  it('takes over early where only part of a chunk is to be executed', async () => {
    const { executed, asked } = await simulate(() => 10, { executeSteps: 4 });
    expect(executed).toEqual(counting(200));
    expect(asked.length).toBeGreaterThan(45);
  });

  it('outlives errors that a repeat mends, and asks less often meanwhile', async () => {
    const { executed, errors, asked } = await simulate((n) =>
      n > 1 && n < 8 ? new ArmatureError('unavailable', 'reconnecting') : 30,
    );
    expect(errors).toEqual(new Array(6).fill('unavailable'));
    expect(executed).toEqual(counting(executed.length));
    expect(asked[7]! - asked[6]!).toBeGreaterThan(2 * (asked[3]! - asked[2]!));
  });

  it('ends with a refusal that comes ten times in a row', async () => {
    const refused = new ArmatureError('missing_camera', 'no picture of camera wrist');
    const ticks = 500;
    await expect(simulate((n) => (n > 2 ? refused : 30), { ticks })).rejects.toBe(refused);
    const nine = simulate((n) => (n > 2 && n < 12 ? refused : 30), { ticks });
    await expect(nine).resolves.toBeDefined();
  });

  it('ends with what the robot throws', async () => {
    const broken = new Error('servo does not answer');
    const execute = (): never => {
      throw broken;
    };
    await expect(simulate(() => 30, { execute })).rejects.toBe(broken);
  });

  it('ends with its signal', async () => {
    const stop = new AbortController();
    const { executed } = await simulate(() => 30, {
      signal: stop.signal,
      onStarved: () => undefined,
      onChunk: (chunk) => {
        if (chunk.seq === 5) stop.abort();
      },
    });
    expect(executed.length).toBeLessThan(60);
  });

  it('asks as early as all but the slowest answers need', async () => {
    // One answer in ten takes nearly a chunk: whoever plans for the fast ones starves then.
    const { stats } = await simulate((n) => (n % 10 === 9 ? 110 : 20), { ticks: 1000 });
    expect(stats.starvedTicks).toBeLessThan(8);
  });

  it('copies a state whose array the robot uses again', async () => {
    const state = Float32Array.of(0, 0, 1);
    const { stats } = await simulate(() => 20, {
      observe: ({ tick }) => {
        state[0] = tick;
        return { ...seen(), state };
      },
      similar: { shoulder: 0.1 },
    });
    expect(stats.similarSkipped).toBe(0);
  });

  it('counts, and reports as the last command, what the limits made of a step', async () => {
    const action = arm.action.map((joint) =>
      joint.name === 'shoulder' ? { ...joint, max: 1000, max_velocity: 25 } : joint,
    );
    // Half a step a tick: the chunks, which count up by one, are too fast.
    const robot = { ...arm, action } as unknown as Arm;
    const { executed, stats, commands } = await simulate(() => 50, { robot, ticks: 50 });
    executed.forEach((value, i) => expect(value).toBeCloseTo(Math.max(0, i * 0.5), 6));
    expect(stats.actionsLimited).toBe(49);
    expect(commands.filter((command) => command !== undefined)).toEqual(executed.slice(1));
  });

  it('brakes before a mixture ends, where the chunk alone is behind', async () => {
    const action = arm.action.map((joint) =>
      joint.name === 'shoulder' ? { ...joint, max: 1000, max_acceleration: 0.5 * 50 ** 2 } : joint,
    );
    const robot = { ...arm, action } as unknown as Arm;
    const after: { readonly over: number; readonly moved: number }[] = [];
    let [looks, before] = [0, 0];
    await simulate((n) => (n < 2 ? 10 : 400), {
      robot,
      aggregate: 'average',
      executeSteps: 3,
      ticks: 9,
      // The second chunk is made for six steps further back.
      observe: () => seen(looks++ === 0 ? 10 : 4),
      execute: ({ shoulder }, { chunk, step }) => {
        const own = chunk.rows[step]?.shoulder ?? NaN;
        if (chunk.chunkId === 'c2') after.push({ over: shoulder - own, moved: shoulder - before });
        before = shoulder;
      },
    });
    // What is left of the first chunk is mixed with the second; the rest is the second's own.
    const last = after.at(-1);
    expect(after.length).toBeGreaterThan(4);
    expect(last?.over).toBeGreaterThan(0);
    expect(last?.moved).toBeLessThan(1e-9);
  });

  it('refuses a rate above the one that velocities are limited for', async () => {
    const run = simulate(() => 30, { hz: 50.1 });
    await expect(run).rejects.toMatchObject({ code: 'invalid_request', field: 'hz' });
    await expect(simulate(() => 30, { hz: 25, ticks: 20 })).resolves.toBeDefined();
  });

  it('refuses settings that make no sense', async () => {
    await expect(simulate(() => 1, { hz: 0 })).rejects.toThrow(/hz/);
    await expect(simulate(() => 1, { executeSteps: -1 })).rejects.toThrow(/executeSteps/);
  });

  it('whatever the network does, no step is repeated, lost between chunks or too old', async () => {
    const answer = fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: 1, max: 150 }) },
      { weight: 2, arbitrary: fc.integer({ min: 150, max: 900 }) },
      {
        weight: 1,
        arbitrary: fc
          .constantFrom('timeout', 'unavailable', 'rate_limited')
          .map((code) => new ArmatureError(code as 'timeout', 'from the network')),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { minLength: 5, maxLength: 40 }), async (answers) => {
        const { executed, stats } = await simulate((n) => answers[n % answers.length] ?? 1, {
          ticks: 80,
        });
        expect(executed).toEqual(counting(executed.length));
        expect(stats.actionsExecuted + stats.starvedTicks).toBe(80);
      }),
      { numRuns: 40, endOnFailure: true, examples: [[[30, 900, 30, 30, 30]]] },
    );
  });
});
