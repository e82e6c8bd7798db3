import path from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/**
 * Counts tests; a file that could not be loaded and an error outside every test are failures too.
 * A test that was never reached counts as failed, so that a run that broke off can't look green.
 */
export function count(
  modules: readonly Pick<TestModule, 'children' | 'errors'>[],
  unhandledErrors: number,
): Counts {
  let passed = 0;
  let failed = unhandledErrors;
  let skipped = 0;
  for (const module of modules) {
    failed += module.errors().length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') passed += 1;
      else if (state === 'skipped') skipped += 1;
      else failed += 1;
    }
  }
  return { passed, failed, skipped };
}

/** A line for each failure: file, test, and the first line of what it says. */
export function failures(
  modules: readonly Pick<TestModule, 'children' | 'errors' | 'moduleId'>[],
  unhandled: readonly unknown[],
): string[] {
  const first = (error: unknown): string =>
    error instanceof Object && 'message' in error && typeof error.message === 'string'
      ? (error.message.split('\n')[0] ?? '')
      : String(error);
  return [
    ...modules.flatMap((module) => {
      const file = path.relative(process.cwd(), module.moduleId);
      return [
        ...module.errors().map((error) => `${file}: ${first(error)}`),
        ...[...module.children.allTests()].flatMap((test) => {
          const { state, errors } = test.result();
          if (state === 'passed' || state === 'skipped') return [];
          const why = state === 'failed' ? first(errors[0]) : 'was not reached';
          return [`${file} > ${test.fullName}: ${why}`];
        }),
      ];
    }),
    ...unhandled.map((error) => `outside every test: ${first(error)}`),
  ].map((line) => `FAILED ${line}`);
}

/**
 * Ends the run's output with what failed, a line each, and `N passed, N failed, N skipped` alone on
 * the last line: where only the end of a log is kept, it says what to look at.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const { passed, failed, skipped } = count(modules, unhandledErrors.length);
    const lines = failures(modules, unhandledErrors);
    process.once('exit', () => {
      const totals = `${passed} passed, ${failed} failed, ${skipped} skipped`;
      process.stdout.write(`${[...lines, totals].join('\n')}\n`);
    });
  }
}
