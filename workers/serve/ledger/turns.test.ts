import { expect, it } from 'vitest';
import { Turns } from './turns.ts';

it('takes one turn at a time, and one more for all who asked meanwhile', async () => {
  const ends: (() => void)[] = [];
  const turns = new Turns(() => new Promise((resolve) => ends.push(resolve)));
  const over: string[] = [];
  const ask = (who: string) => turns.ask().then(() => over.push(who));
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const asked = [ask('first'), ...Array.from({ length: 300 }, () => ask('meanwhile'))];
  await settled();
  expect([ends.length, over]).toEqual([1, []]);
  ends[0]?.();
  await settled();
  // The second is under way, and answers nobody who asks from here on.
  asked.push(ask('later'));
  expect([ends.length, over]).toEqual([2, ['first']]);
  ends[1]?.();
  await settled();
  expect(over).toHaveLength(301);
  expect(over).not.toContain('later');
  ends[2]?.();
  await Promise.all(asked);
  expect(ends).toHaveLength(3);
  void ask('anew');
  expect(ends).toHaveLength(4);
});
