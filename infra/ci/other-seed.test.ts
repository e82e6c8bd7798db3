import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const SCRIPT = fileURLToPath(new URL('other-seed.sh', import.meta.url));
const seeds = (process.env['ARMATURE_OTHER_SEED'] ?? '').split(',').filter((seed) => seed !== '');
if (seeds.length === 0) {
  process.stderr.write(
    'ARMATURE_OTHER_SEED names no seed, reference outputs of others are skipped\n',
  );
}

/** What the script says in the environment of a shell, not of a test that runs tests. */
async function run(seed: string): Promise<{ code: number | null; said: string }> {
  const own = /^(VITEST|NODE_ENV$|TEST$|DEV$|PROD$|MODE$|BASE_URL$|SSR$)/;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)));
  const child = spawn('sh', [SCRIPT, seed], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said };
}

// Python with PyTorch is installed once; a set takes some minutes to make and to hold everything to.
it.skipIf(seeds.length === 0).each(seeds.length === 0 ? ['N'] : seeds)(
  'what reads reference outputs reads those of seed %s',
  async (seed) => {
    expect(seed).toMatch(/^\d+$/);
    const { code, said } = await run(seed);
    expect(code, said.slice(-20_000)).toBe(0);
    // One line ends each of the two runs; nothing is left out of either.
    const counts = [...said.matchAll(/^(\d+) passed, 0 failed, 0 skipped$/gm)].map(([, n]) =>
      Number(n),
    );
    expect(counts).toHaveLength(2);
    expect(Math.min(...counts)).toBeGreaterThan(50);
    process.stdout.write(`${/^fixture {3}[\s\S]*?\n\n/m.exec(said)?.[0] ?? ''}\n`);
  },
  3_600_000,
);
