import { describe, expect, it } from 'vitest';
import { mapLimited } from './dataset-files.ts';

describe('looking at the files of a set', () => {
  it('has 64 at a time, one that takes long holding up none of the others', async () => {
    let now = 0;
    let most = 0;
    let done = 0;
    let letGo = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const numbers = Array.from({ length: 1_000 }, (_, n) => n);
    const results = await mapLimited(numbers, async (n) => {
      now += 1;
      most = Math.max(most, now);
      await (n === 0 ? slow : Promise.resolve());
      now -= 1;
      done += 1;
      // The first is let go by the last of the others.
      if (done === numbers.length - 1) letGo();
      return 2 * n;
    });
    expect(results).toEqual(numbers.map((n) => 2 * n));
    expect(most).toBe(64);
  });

  it('ends with what fails, and of nothing gives nothing', async () => {
    const failing = mapLimited([1, 2, 3], (n) =>
      n === 2 ? Promise.reject(new Error('for a test')) : Promise.resolve(n),
    );
    await expect(failing).rejects.toThrow('for a test');
    expect(await mapLimited([], () => Promise.resolve(1))).toEqual([]);
  });
});
