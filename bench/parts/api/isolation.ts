import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { routes } from '@armature/sdk/contract';
import { z } from 'zod';
import type { Figure } from '../../result.ts';

const listSchema = z.array(z.object({ name: z.string() }));

/** How many cases the suites have that keep tenants apart, as vitest collects them, and of how many verbs. */
export async function isolationSize(): Promise<Figure[]> {
  const cwd = fileURLToPath(new URL('../../../', import.meta.url));
  const args = [
    'node_modules/vitest/vitest.mjs',
    'list',
    'test/isolation',
    '--json',
    '--maxWorkers=1',
  ];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd,
    maxBuffer: 64 * 1024 * 1024,
  });
  const cases = listSchema.parse(JSON.parse(stdout.slice(stdout.indexOf('['))));
  return [
    { name: 'isolation suite', value: cases.length, unit: 'cases' },
    { name: 'verbs of the contract', value: Object.keys(routes).length, unit: '' },
  ];
}
