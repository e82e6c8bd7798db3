import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { holdTwoProcesses } from './support/two-processes.ts';

/** Suites of `api` that are not run here, and why. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'auth/auth.test.ts': 'of keys and tokens in one process; nothing is asked',
  'auth/people/address.test.ts': 'of a function',
  'config.test.ts': 'of the reading of settings',
  'errors.test.ts': 'of a function',
  'openapi/document.test.ts': 'of a file',
  'rate-limiter.test.ts': 'has several limiters on one database itself',
  'services/dataset-files.test.ts': 'of a function',
};
/** Suites of other rooms that are run here too, by their path from this folder. */
const BESIDES = ['isolation/tenants.test.ts'];

const api = fileURLToPath(new URL('../api/', import.meta.url));
const suites = readdirSync(api, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts') && !file.includes('node_modules'))
  .sort();
const here = suites.filter((file) => !(file in ELSEWHERE));
const textOf = (file: string): string => readFileSync(`${api}${file}`, 'utf8');
/** What a suite asks its API to be, as it writes it; nothing for most. */
const wishesOf = (file: string): string => /startTestApi\((.*?)\)/.exec(textOf(file))?.[1] ?? '';
/** Suites of equal wishes follow each other, as both processes are started anew where these change. */
const inOrder = here.toSorted((a, b) => wishesOf(a).localeCompare(wishesOf(b)));

it.each(here)('%s asks an API, or the list says why it is not run here', (file) => {
  expect(textOf(file)).toContain('startTestApi(');
});

it.each(Object.keys(ELSEWHERE))('%s is there, and asks no API', (file) => {
  expect(suites).toContain(file);
  expect(textOf(file)).not.toContain('startTestApi(');
});

/**
 * Each suite once more, against two processes behind a round robin of which one is restarted while
 * requests are under way.
 */
describe('two processes', () => {
  vi.stubEnv('ARMATURE_TEST_API', 'two');
  let stop: () => Promise<void>;
  beforeAll(async () => {
    stop = await holdTwoProcesses();
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await stop();
  });

  for (const file of [...BESIDES, ...inOrder.map((name) => `../api/${name}`)]) {
    // A file registers its tests when it is imported.
    describe(file, async () => {
      await import(new URL(file, import.meta.url).href);
    });
  }
});
