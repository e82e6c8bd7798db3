import { gammaln } from 'simple-statistics';

/** Failures among trials. */
export interface Trials {
  readonly failures: number;
  readonly trials: number;
}

/**
 * Fisher's exact test, one-sided: how likely at least so many of the failures would fall to `a` if
 * neither fails more often than the other (the upper tail of the hypergeometric distribution).
 * 1, without a sum, where `a` does not fail more often.
 */
export function fishersExact(a: Trials, b: Trials): number {
  if (a.failures * b.trials <= b.failures * a.trials) return 1;
  const failures = a.failures + b.failures;
  const successes = a.trials + b.trials - failures;
  let x = a.failures;
  // Terms fall from here on, since x is above the mean.
  let term = Math.exp(
    logChoose(failures, x) +
      logChoose(successes, a.trials - x) -
      logChoose(failures + successes, a.trials),
  );
  let sum = 0;
  while (x <= Math.min(failures, a.trials) && term > sum * Number.EPSILON) {
    sum += term;
    term *= ((failures - x) * (a.trials - x)) / ((x + 1) * (successes - a.trials + x + 1));
    x += 1;
  }
  return Math.min(1, sum);
}

function logChoose(n: number, k: number): number {
  return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1);
}
