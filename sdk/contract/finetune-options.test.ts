import { describe, expect, it } from 'vitest';
import { finetuneOptionsSchema } from './resources.ts';

describe('a batch in shares', () => {
  const told = (options: object): string[] =>
    (finetuneOptionsSchema.safeParse(options).error?.issues ?? []).map(
      ({ path, message }) => `${path.join('.')} ${message}`,
    );

  it.each([
    [{}, []],
    [{ accumulate: 1 }, []],
    [{ batch_size: 512 }, []],
    [{ batch_size: 2048, accumulate: 4 }, []],
    [{ accumulate: 2 }, ['accumulate needs a batch_size that it divides']],
    [{ batch_size: 100, accumulate: 3 }, ['accumulate does not divide a batch_size of 100']],
    [{ batch_size: 1025 }, ['batch_size over 512 samples need an accumulate of 3 or more']],
  ])('%j', (options, problems) => {
    expect(told(options)).toEqual(problems);
  });
});
