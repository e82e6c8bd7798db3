import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { LagWatch } from './lag-watch.ts';
import { LoopLag } from './loop-lag.ts';

it('counts the time in which the loop was late, and says so at most once a minute', () => {
  const clock = { now: 0 };
  let longest = 0;
  const late: number[] = [];
  const alarms: { longestMs: number; lateMs: number }[] = [];
  const watch = new LagWatch({
    lag: { max: () => longest, reset: () => (longest = 0) },
    now: () => clock.now,
    onLate: (ms) => late.push(ms),
    onAlarm: (alarm) => alarms.push(alarm),
  });
  for (const next of [10, 11, 40, 0, ...Array<number>(56).fill(0), 25, 0]) {
    clock.now += 1_000;
    longest = next;
    watch.read();
  }
  expect(late).toEqual([1_000, 1_000, 1_000]);
  // The first at once; what came within its minute with the next.
  expect(alarms).toEqual([
    { longestMs: 11, lateMs: 1_000 },
    { longestMs: 40, lateMs: 2_000 },
  ]);
});

it('hears of a loop that is held up', async () => {
  const lag = new LoopLag();
  const alarms: number[] = [];
  const watch = new LagWatch({
    lag,
    now: () => performance.now(),
    onLate: () => undefined,
    onAlarm: ({ longestMs }) => alarms.push(longestMs),
  });
  await sleep(50);
  for (const until = performance.now() + 200; performance.now() < until;);
  await sleep(50);
  watch.read();
  lag.stop();
  expect(alarms).toHaveLength(1);
  expect(alarms[0]).toBeGreaterThan(150);
});
