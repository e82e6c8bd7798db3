import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/', import.meta.url));
/** Longest step: packages that come over a slow network onto a busy machine. */
const STEP_MS = 540_000;

/**
 * The Python of an environment that holds exactly these packages, made where it is not there yet.
 * @throws Error when there is no Python 3, or PyPI cannot be reached.
 */
async function pythonWith(name: string, requirements: readonly string[]): Promise<string> {
  const dir = path.join(CACHE, name);
  const python = path.join(dir, 'bin', 'python');
  const done = path.join(dir, 'complete');
  const wanted = requirements.join('\n');
  if (existsSync(done) && readFileSync(done, 'utf8') === wanted) return python;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(CACHE, { recursive: true });
  const options = { timeout: STEP_MS };
  await run('python3', ['-m', 'venv', dir], options);
  await run(
    python,
    ['-m', 'pip', 'install', '--quiet', '--only-binary=:all:', '--no-compile', ...requirements],
    options,
  );
  writeFileSync(done, wanted);
  return python;
}

/**
 * As `pythonWith`; `undefined`, and one line that says why, where it cannot be made, unless
 * `ARMATURE_REQUIRE_COMPAT` is 1.
 */
export async function pythonIfHad(
  name: string,
  requirements: readonly string[],
): Promise<string | undefined> {
  try {
    return await pythonWith(name, requirements);
  } catch (error) {
    if (process.env['ARMATURE_REQUIRE_COMPAT'] === '1') throw error;
    const [line = ''] = String(error).split('\n');
    process.stderr.write(`${name} cannot be had here, its suite is skipped: ${line}\n`);
    return undefined;
  }
}
