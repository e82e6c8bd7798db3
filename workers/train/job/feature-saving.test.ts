import { expect, it } from 'vitest';
import { FeatureMeter, featuresEvent } from './feature-saving.ts';

it('are timed from before the first pass to the last', () => {
  let now = 10;
  const meter = new FeatureMeter(() => now);
  expect(meter.saving).toBeUndefined();
  meter.see({ done: 0, total: 100, reads: 6400 });
  now = 12;
  meter.see({ done: 50, total: 100, reads: 6400 });
  expect(meter.saving).toBeUndefined();
  now = 14.5;
  meter.see({ done: 100, total: 100, reads: 6400 });
  expect(meter.saving).toEqual({ passes: 100, reads: 6400, seconds: 4.5 });
});

it('say what is saved: passes, and seconds at the rate of those that were run', () => {
  const { message, data } = featuresEvent({ passes: 100, reads: 6400, seconds: 4.5 });
  expect(message).toBe(
    'features of the frozen parts, computed once: 100 passes in 4.5 s; the steps read 6400: 6300 passes saved, some 284 s',
  );
  expect(data).toEqual({
    passes: 100,
    reads: 6400,
    passes_saved: 6300,
    seconds: 4.5,
    seconds_saved: 283.5,
  });
});

it('say so where few steps save nothing', () => {
  const { message, data } = featuresEvent({ passes: 40, reads: 12, seconds: 0.834 });
  expect(message).toBe(
    'features of the frozen parts, computed once: 40 passes in 0.83 s; the steps read 12, which saves nothing',
  );
  expect(data).toMatchObject({ passes_saved: 0, seconds_saved: 0 });
});
