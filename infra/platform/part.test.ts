import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Part, type PartEvent } from './part.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'armature-part-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const READY = `process.stdout.write(JSON.stringify({ ready: true, url: 'http://x' }) + '\\n');`;
const STAY = `const stay = setInterval(() => undefined, 1000);
process.on('SIGTERM', () => { console.error('stopping'); clearInterval(stay); });`;

async function part(name: string, source: string) {
  const entry = path.join(folder, `${name}.ts`);
  const logFile = path.join(folder, `${name}.log`);
  await writeFile(entry, source);
  const events: PartEvent[] = [];
  const options = {
    name,
    entry,
    logFile,
    env: { PATH: '/usr/bin:/bin', GREETING: 'hello' },
    onEvent: (event: PartEvent) => events.push(event),
    backOffMs: { first: 50, longest: 200 },
  };
  return { options, events, logFile };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('Part', () => {
  it('waits for the ready line, hands over its environment and stops cleanly', async () => {
    const { options, logFile } = await part(
      'good',
      `${STAY}\nconsole.error(process.env['GREETING'], process.env['HOME']);\n${READY}`,
    );
    const started = await Part.start(options);
    expect(started.pid).toBeTypeOf('number');
    await started.stop();
    expect(await readFile(logFile, 'utf8')).toBe(
      'hello undefined\nstopping\ngood ended with exit code 0\n',
    );
  });

  it('starts Node with the flags that it is given', async () => {
    const { options, logFile } = await part(
      'flagged',
      `${STAY}\nimport v8 from 'node:v8';
console.error(process.execArgv[0], v8.getHeapStatistics().heap_size_limit >> 20);\n${READY}`,
    );
    const started = await Part.start({ ...options, flags: ['--max-old-space-size=777'] });
    await started.stop();
    const told = /^--max-old-space-size=777 (\d+)\n/.exec(await readFile(logFile, 'utf8'))?.[1];
    // The young generation comes on top.
    expect(Number(told)).toBeGreaterThanOrEqual(777);
    expect(Number(told)).toBeLessThan(1_000);
  });

  it('says why a process did not start, with the end of its log', async () => {
    const { options } = await part('bad', `throw new Error('no database at all');`);
    await expect(Part.start(options)).rejects.toThrow(/bad ended with exit code 1[^]*no database/);
  });

  it('gives up on a silent process and leaves none behind', async () => {
    const { options } = await part('silent', STAY);
    await expect(Part.start({ ...options, readyWithinMs: 1500 })).rejects.toThrow(
      /did not get ready within 1.5 s/,
    );
  });

  it('kills a process that does not stop in time', async () => {
    const { options, logFile } = await part(
      'stubborn',
      `setInterval(() => undefined, 1000); process.on('SIGTERM', () => undefined);\n${READY}`,
    );
    const started = await Part.start({ ...options, stopWithinMs: 200 });
    await started.stop();
    expect(await readFile(logFile, 'utf8')).toContain('ended with SIGKILL');
  });

  it('starts a crashed process again, each time after a longer wait', async () => {
    const { options, events } = await part('crashing', `${STAY}\n${READY}`);
    const started = await Part.start(options);
    const waits: number[] = [];
    for (const round of [1, 2, 3]) {
      const { pid } = started;
      process.kill(pid ?? 0, 'SIGKILL');
      await vi.waitFor(
        () => {
          expect(events.filter((event) => event.kind === 'ready')).toHaveLength(round + 1);
        },
        { timeout: 10_000 },
      );
      expect(started.pid).not.toBe(pid);
    }
    for (const event of events) if (event.kind === 'crashed') waits.push(event.restartInMs);
    expect(waits).toEqual([50, 100, 200]);
    await started.stop();
    expect(events.filter((event) => event.kind === 'crashed')).toHaveLength(3);
  });

  it('ends with the platform, even when that is killed', async () => {
    const { options } = await part('leashed', `${STAY}\n${READY}`);
    const parent = path.join(folder, 'parent.mts');
    const module = new URL('./part.ts', import.meta.url).href;
    await writeFile(
      parent,
      `import { Part } from '${module}';
const part = await Part.start({ ...${JSON.stringify(options)}, onEvent: () => undefined });
process.stdout.write(String(part.pid));`,
    );
    const child = spawn(process.execPath, ['--import', 'tsx', parent], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [pid] = (await once(child.stdout, 'data')) as [Buffer];
    expect(isAlive(Number(pid))).toBe(true);
    child.kill('SIGKILL');
    await vi.waitFor(() => expect(isAlive(Number(pid))).toBe(false), { timeout: 10_000 });
  });
});
