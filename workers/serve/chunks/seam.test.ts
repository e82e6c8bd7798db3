import { ArmatureError, Ndarray, type EmbodimentSpec } from '@armature/sdk/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toChunk } from '../../../sdk/src/robot/chunk.ts';
import { ExecutionReport } from '../../../sdk/src/robot/execution.ts';
import { vector } from '../../../sdk/src/robot/observation.ts';
import { runLoop, type Actor } from '../../../sdk/src/robot/run.ts';
import { StatsCounter } from '../../../sdk/src/robot/stats.ts';
import { VirtualClock } from '../../../sdk/src/testing/virtual-clock.ts';
import { checkChunk } from './chunk-check.ts';
import { chunkLimits } from './chunk-limits.ts';
import { CommandHistory } from './command-history.ts';
import { departureOf } from './departure.ts';

const HORIZON = 16;
/** Of the elbow, a control period. */
const [STEP, CHANGE] = [0.1, 0.02];
const EPS = 2e-5;

function spec(over: Partial<EmbodimentSpec> & { acceleration?: false } = {}): EmbodimentSpec {
  const { acceleration, ...rest } = over;
  const rates = { max_velocity: STEP * 20, max_acceleration: CHANGE * 400 };
  if (acceleration === false) Reflect.deleteProperty(rates, 'max_acceleration');
  return {
    name: 'arm',
    control_hz: 20,
    horizon: HORIZON,
    state: [{ name: 'elbow', unit: 'rad' }],
    action: [
      { name: 'grip', unit: 'ratio', group: 'hand', min: 0, max: 1 },
      { name: 'elbow', unit: 'rad', group: 'arm', min: -3, max: 3, ...rates },
    ],
    references: { arm: 'state', hand: 'absolute' },
    cameras: [{ name: 'front', kind: 'external', width: 64, height: 64 }],
    on_violation: 'clamp',
    when_starved: 'hold',
    ...rest,
  };
}

/** What the network and the policy make of one question. */
interface Answer {
  readonly ms: number;
  /** The robot is with another worker from here on, which knows of no chunk. */
  readonly reconnects: boolean;
  /** Where the policy wants the elbow at each step. */
  readonly elbow: (measured: number) => readonly number[];
}

interface Executed {
  readonly tick: number;
  readonly elbow: number;
}

/**
 * The SDK's loop in virtual time with chunks that the worker's check lets through, of a robot that is
 * where its last command had it go.
 * @param stall how long executing takes at a tick, ms
 */
async function execute(
  robot: EmbodimentSpec,
  answers: (n: number) => Answer,
  stall: (tick: number) => number = () => 0,
  ticks = 200,
) {
  const clock = new VirtualClock();
  const counter = new StatsCounter();
  const report = new ExecutionReport();
  const never = new AbortController().signal;
  const executed: Executed[] = [];
  const errors: string[] = [];
  let [epoch, asked, at] = [1, 0, 0.5];
  let history = new CommandHistory('ses_1', epoch, 2);
  const actor: Actor<EmbodimentSpec> = {
    embodiment: robot,
    status: 'ready',
    async act({ state }, { signal }) {
      const seq = asked++;
      const { ms, reconnects, elbow } = answers(seq);
      const { last, before } = history.resolve(report.forWorker((known) => known === epoch));
      const measured = vector(robot.state, state, 'state', 'invalid_state');
      const wanted = elbow(measured[0] ?? NaN);
      await clock.sleep(ms, signal);
      if (reconnects) {
        epoch += 1;
        history = new CommandHistory('ses_1', epoch, 2);
        throw new ArmatureError('unavailable', 'the worker has gone');
      }
      const flat = Float32Array.from({ length: 2 * HORIZON }, (_, i) =>
        i % 2 === 0 ? 0.5 : (wanted[i >> 1] ?? NaN),
      );
      const departure = departureOf(robot, measured, last, before);
      const { actions, clamped } = checkChunk(flat, chunkLimits(robot), departure);
      history.remember(history.chunkId(seq), actions);
      counter.chunks += 1;
      return toChunk(
        robot,
        {
          type: 'chunk',
          seq,
          chunk_id: history.chunkId(seq),
          epoch,
          actions: Ndarray.float32(actions, [HORIZON, 2]),
          reasoning: null,
          policy_version: 'pv_1',
          stats_hash: 's',
          clamped,
          timings: { decode_ms: 0, queue_ms: 0, infer_ms: 0, total_ms: 0, batch: 1 },
        },
        { latencyMs: ms, capturedAt: 0 },
      );
    },
    report: (chunk, steps, command) =>
      report.reached(
        chunk,
        steps,
        command === undefined
          ? undefined
          : vector(robot.action, command, 'command', 'invalid_action'),
      ),
  };
  const stats = await clock.until(
    runLoop(actor, counter, {
      clock,
      ticks,
      observe: () => ({ images: {}, state: { elbow: at } }),
      execute: async (row, { tick }) => {
        at = row['elbow'] ?? NaN;
        executed.push({ tick, elbow: at });
        const ms = stall(tick);
        if (ms > 0) await clock.sleep(ms, never);
      },
      onError: ({ code, field }) => errors.push(`${code} ${field ?? ''}`),
      onStarved: () => undefined,
    }),
  );
  return { executed, stats, errors };
}

/** Largest velocity and acceleration, a control period; a tick without a command is one that stood. */
function rates(executed: readonly Executed[], from: number) {
  let [velocity, acceleration, step] = [0, 0, NaN];
  let before: Executed | undefined;
  for (const now of executed) {
    const moved = now.elbow - (before?.elbow ?? from);
    if (before !== undefined && now.tick > before.tick + 1) step = 0;
    velocity = Math.max(velocity, Math.abs(moved));
    if (!Number.isNaN(step)) acceleration = Math.max(acceleration, Math.abs(moved - step));
    step = moved;
    before = now;
  }
  return { velocity, acceleration };
}

const even = (ms: number, elbow: Answer['elbow']): Answer => ({ ms, reconnects: false, elbow });
const steps = (wanted: (step: number) => number) =>
  Array.from({ length: HORIZON }, (_, i) => wanted(i));

describe('where two chunks meet', () => {
  it('a policy that turns round moves no faster than the robot may', async () => {
    const turning = (n: number) =>
      even(200, (at) => steps((i) => at + (n % 2 === 0 ? 1 : -1) * STEP * (i + 1)));
    const { executed, stats } = await execute(spec({ acceleration: false }), turning);
    expect(rates(executed, 0.5).velocity).toBeLessThan(STEP + EPS);
    expect(stats.actionsLimited).toBeGreaterThan(0);
    expect(stats).toMatchObject({ actionsExecuted: 200, actionsRefused: 0, starvedTicks: 0 });
  });

  it('a robot that refuses holds, says which joint it was, and goes on from where it stands', async () => {
    const turning = (n: number) =>
      even(200, (at) => steps((i) => at + (n % 2 === 0 ? 1 : -1) * STEP * (i + 1)));
    const robot = spec({ acceleration: false, on_violation: 'refuse' });
    const { executed, stats, errors } = await execute(robot, turning);
    expect(rates(executed, 0.5).velocity).toBeLessThan(STEP + EPS);
    expect(stats.actionsRefused).toBeGreaterThan(0);
    expect(stats.actionsLimited).toBe(0);
    expect(stats.starvedTicks).toBeGreaterThan(0);
    // The worker's own refusals are among them.
    expect(errors.length).toBeGreaterThanOrEqual(stats.actionsRefused);
    expect(new Set(errors.map((error) => error.replace(/\d+/, 'n')))).toEqual(
      new Set(['invalid_action actions[n].elbow']),
    );
    expect(stats.actionsExecuted).toBeGreaterThan(50);
  });

  it('a policy that wants the robot at one place gets it there, and never past it', async () => {
    for (const ms of [60, 200, 400]) {
      const there = () => even(ms, () => steps(() => 2));
      const { executed, stats } = await execute(spec(), there);
      for (const { elbow } of executed) expect(elbow).toBeLessThan(2 + EPS);
      expect(executed.at(-1)?.elbow).toBeCloseTo(2, 4);
      expect(stats.chunks).toBeGreaterThan(3);
    }
  });

  it('whatever the policy answers and however late, no command is too far from the one before', async () => {
    const wild = fc
      .array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: 4, maxLength: 4 })
      .map((corners): Answer['elbow'] => {
        const at = (i: number) => corners[i >> 2] ?? NaN;
        return () => steps(at);
      });
    const smooth = fc
      .tuple(
        fc.double({ min: -1.2, max: 1.2, noNaN: true }),
        fc.double({ min: -1, max: 1, noNaN: true }),
      )
      .map(
        ([slope, jump]): Answer['elbow'] =>
          (measured) =>
            steps((i) => measured + jump * CHANGE + slope * STEP * (i + 1)),
      );
    const answer: fc.Arbitrary<Answer> = fc.record({
      ms: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 400, max: 1500 })),
      reconnects: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      elbow: fc.oneof(wild, smooth, smooth),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(answer, { minLength: 4, maxLength: 30 }),
        fc.constantFrom('clamp', 'refuse'),
        fc.constantFrom(undefined, false),
        fc.array(fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 120), { minLength: 1, maxLength: 20 }),
        async (answers, on_violation, acceleration, stalls) => {
          const robot = spec({
            on_violation,
            ...(acceleration === undefined ? {} : { acceleration }),
          });
          const pick = <T>(from: readonly T[], n: number): T => from[n % from.length]!;
          // A policy whose every chunk is refused ends the loop, which is another test's.
          const sane = even(50, (at) => steps(() => at));
          const { executed, stats } = await execute(
            robot,
            (n) => (n % 3 === 0 ? sane : pick(answers, n)),
            (tick) => pick(stalls, tick),
            120,
          );
          const { velocity, acceleration: change } = rates(executed, 0.5);
          expect(velocity).toBeLessThan(STEP + EPS);
          if (acceleration !== false) expect(change).toBeLessThan(CHANGE + EPS);
          for (const { elbow } of executed) expect(Math.abs(elbow)).toBeLessThan(3 + EPS);
          if (on_violation === 'refuse') expect(stats.actionsLimited).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});
