import { describe, expect, it } from 'vitest';
import { Dispatcher, type DropReason, type EngineLane, type RunInfo } from './dispatcher.ts';
import { ObservationQueue, type Lane } from './queue.ts';

/** A dispatcher over virtual time and engines that finish when they are told to. */
function bench(engines: EngineLane[] = [{ name: 'one', serves: ['act', 'reason'] }]) {
  const clock = { now: 0 };
  const timers = new Set<{ readonly at: number; readonly call: () => void }>();
  const runs: {
    kind: string;
    rows: readonly string[];
    finish: () => Promise<void>;
    fail: () => Promise<void>;
  }[] = [];
  const log: string[] = [];
  const infos: RunInfo[] = [];
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
  const dispatcher = new Dispatcher<string, string>({
    queue: new ObservationQueue({ maxRows: 4, quantum: 4 }),
    engines,
    now: () => clock.now,
    after: (ms, call) => {
      const timer = { at: clock.now + ms, call };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    onError: () => undefined,
    run: (kind, rows) =>
      new Promise((resolve, reject) => {
        runs.push({
          kind,
          rows,
          finish: () => (resolve(rows.map((r) => `${r}!`)), settled()),
          fail: () => (reject(new Error('engine')), settled()),
        });
      }),
  });
  const submit = (session: string, lane: Lane = 'act', expires = Infinity) => {
    dispatcher.submit({
      session,
      tenant: session,
      lane,
      group: lane,
      deadline: clock.now + 10,
      expires,
      inFlightLimit: 1,
      weight: 1,
      cost: 1,
      job: {
        kind: lane,
        shape: { family: 'f', views: { external: 1, wrist: 0 }, paired: false, pulled: false },
        row: () => session,
        done: (result, info) => {
          log.push(result);
          infos.push(info);
        },
        dropped: (reason: DropReason) => log.push(`${session} ${reason.why}`),
      },
    });
  };
  /** Lets time pass; what is due is called. */
  const passTo = (now: number): void => {
    clock.now = now;
    for (const timer of timers) {
      if (timer.at <= now && timers.delete(timer)) timer.call();
    }
  };
  return { clock, runs, log, infos, submit, dispatcher, passTo, timers };
}

describe('Dispatcher', () => {
  it('starts at once when an engine is free, and batches what came meanwhile', async () => {
    const { runs, log, infos, submit, clock } = bench();
    submit('a');
    expect(runs.map((r) => r.rows)).toEqual([['a']]);
    clock.now = 5;
    submit('b');
    submit('c');
    expect(runs).toHaveLength(1);
    clock.now = 20;
    await runs[0]!.finish();
    expect(runs.map((r) => r.rows)).toEqual([['a'], ['b', 'c']]);
    clock.now = 50;
    await runs[1]!.finish();
    expect(log).toEqual(['a!', 'b!', 'c!']);
    expect(infos[1]).toEqual({ queuedMs: 15, ranMs: 30, rows: 2 });
  });

  it('tells a row that it is too late when it is, while every engine is busy', async () => {
    const { runs, log, submit, passTo, timers } = bench();
    submit('busy');
    submit('late', 'act', 80);
    submit('later', 'act', 90);
    submit('first', 'act', 50);
    submit('patient');
    passTo(49);
    expect(log).toEqual([]);
    passTo(50);
    expect(log).toEqual(['first expired']);
    passTo(85);
    expect(log).toEqual(['first expired', 'late expired']);
    passTo(90);
    expect(log).toEqual(['first expired', 'late expired', 'later expired']);
    expect(timers.size).toBe(0);
    await runs[0]?.finish();
    await runs[1]?.finish();
    expect(log.slice(3)).toEqual(['busy!', 'patient!']);
  });

  it('tells each replaced, expired and withdrawn row so, once', async () => {
    const { runs, log, submit, clock, dispatcher } = bench();
    submit('busy');
    submit('a');
    submit('a');
    submit('b', 'act', 30);
    submit('c');
    dispatcher.withdraw('c');
    clock.now = 40;
    await runs[0]!.finish();
    await runs[1]!.finish();
    expect(log).toEqual(['a replaced', 'c withdrawn', 'b expired', 'busy!', 'a!']);
    expect(dispatcher.idle).toBe(true);
  });

  it('keeps a bad row from harming the others of its run', async () => {
    const { runs, log, submit } = bench();
    submit('busy');
    submit('a');
    submit('bad');
    await runs[0]!.finish();
    await runs[1]!.fail();
    expect(runs[2]!.rows).toEqual(['a']);
    await runs[2]!.finish();
    expect(runs[3]!.rows).toEqual(['bad']);
    await runs[3]!.fail();
    expect(log).toEqual(['busy!', 'a!', 'bad failed']);
  });

  it('runs lanes side by side on their own engines', () => {
    const { runs, submit } = bench([
      { name: 'act', serves: ['act'] },
      { name: 'reason', serves: ['reason'] },
    ]);
    submit('a', 'reason');
    submit('a', 'act');
    submit('b', 'reason');
    expect(runs.map((r) => [r.kind, r.rows])).toEqual([
      ['reason', ['a']],
      ['act', ['a']],
    ]);
  });

  it('says how long a run has been under way', () => {
    const { submit, clock, dispatcher } = bench();
    expect(dispatcher.longestRunMs()).toBe(0);
    submit('a');
    clock.now = 700;
    expect(dispatcher.longestRunMs()).toBe(700);
  });
});
