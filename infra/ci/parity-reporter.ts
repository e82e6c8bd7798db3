import type { Reporter, TestModule } from 'vitest/node';
import { parityTable, type ParityRow } from './parity-table.ts';

/** Comparisons that the tests of these modules made. */
export function parityRows(modules: readonly Pick<TestModule, 'children'>[]): ParityRow[] {
  return modules.flatMap((module) =>
    [...module.children.allTests()].flatMap((test) => test.meta().parity ?? []),
  );
}

/** Prints what was compared with reference outputs, and how closely it matches, when a run ends. */
export default class ParityReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const rows = parityRows(modules);
    if (rows.length > 0) process.stdout.write(`\n${parityTable(rows)}\n\n`);
  }
}
