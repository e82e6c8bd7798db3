import { defineConfig } from 'vitest/config';

// Suites share two cores with a real Postgres and the engines, so files run two at a time.
const shared = { testTimeout: 120_000, hookTimeout: 120_000, pool: 'forks' as const };

export default defineConfig({
  test: {
    maxWorkers: 2,
    reporters: ['default', './infra/ci/parity-reporter.ts', './infra/ci/summary-reporter.ts'],
    projects: [
      {
        test: {
          ...shared,
          name: 'rooms',
          include: ['**/*.test.ts'],
          exclude: ['**/node_modules/**', '.armature/**', '**/*.parity.test.ts'],
        },
      },
      {
        test: {
          ...shared,
          name: 'parity',
          include: ['**/*.parity.test.ts'],
          exclude: ['**/node_modules/**', '.armature/**'],
        },
      },
    ],
  },
});
