import { afterAll, describe } from 'vitest';

/**
 * The API's suites once more, each against two processes behind a round robin of which one is
 * restarted while requests are under way. What needs the API's clock in hand is left out there.
 */
const before = process.env['ARMATURE_TEST_API'];
process.env['ARMATURE_TEST_API'] = 'two';
afterAll(() => {
  if (before === undefined) delete process.env['ARMATURE_TEST_API'];
  else process.env['ARMATURE_TEST_API'] = before;
});

describe('two processes, isolation of tenants', () =>
  import('./isolation/tenants.test.ts').then(registered));
describe('two processes, idempotency', () => import('../api/idempotency.test.ts').then(registered));
describe('two processes, limits', () => import('../api/limits.test.ts').then(registered));
describe('two processes, flow', () => import('../api/flow.test.ts').then(registered));
describe('two processes, fine-tunes', () => import('../api/finetunes.test.ts').then(registered));
describe('two processes, policies', () => import('../api/policies.test.ts').then(registered));
describe('two processes, deleting sets', () =>
  import('../api/datasets-delete.test.ts').then(registered));
describe('two processes, metering', () =>
  import('../api/metering/metering.test.ts').then(registered));

/** A file registers its tests when it is imported; nothing of its exports is wanted. */
function registered(): void {}
