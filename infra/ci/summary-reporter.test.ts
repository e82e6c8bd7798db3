import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = new URL('../..', import.meta.url).pathname;

/** A run of vitest over one file, with this reporter. */
async function run(folder: string, source: string): Promise<{ code: number; last: string[] }> {
  await writeFile(path.join(folder, 'sample.test.ts'), source);
  const vitest = path.join(root, 'node_modules/vitest/vitest.mjs');
  const reporter = path.join(root, 'infra/ci/summary-reporter.ts');
  const args = [vitest, 'run', '--root', folder, '--reporter', 'default', '--reporter', reporter];
  const lastLines = (stdout: string): string[] => {
    const lines = stdout.trimEnd().split('\n');
    const failed = lines.filter((line) => line.startsWith('FAILED '));
    return lines.slice(-failed.length - 1);
  };
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder });
    return { code: 0, last: lastLines(stdout) };
  } catch (error) {
    const failure = error as { code: number; stdout: string };
    return { code: failure.code, last: lastLines(failure.stdout) };
  }
}

describe('the end of a test run', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(root, 'node_modules/.summary-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  it('names what failed, counts passed, failed and skipped tests and keeps the exit code', async () => {
    const source = `import { expect, it } from 'vitest';
it('passes', () => expect(1).toBe(1));
it('passes too', () => expect(1).toBe(1));
it('fails', () => expect(1).toBe(2));
it.skip('is skipped', () => expect(1).toBe(2));`;
    expect(await run(folder, source)).toEqual({
      code: 1,
      last: [
        'FAILED sample.test.ts > fails: expected 1 to be 2 // Object.is equality',
        '2 passed, 1 failed, 1 skipped',
      ],
    });
  });

  it('counts a file that can not be loaded as a failure', async () => {
    expect(await run(folder, `throw new Error('no');`)).toEqual({
      code: 1,
      last: ['FAILED sample.test.ts: no', '0 passed, 1 failed, 0 skipped'],
    });
  });

  it('is green when all is green', async () => {
    const source = `import { it } from 'vitest';\nit('passes', () => undefined);`;
    expect(await run(folder, source)).toEqual({ code: 0, last: ['1 passed, 0 failed, 0 skipped'] });
  });
});
