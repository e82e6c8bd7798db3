import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import postgres from 'postgres';
import { startPostgres } from './postgres.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'armature-pg-'));
});
afterEach(async () => rm(dir, { recursive: true, force: true }));

async function query(url: string, statement: string): Promise<unknown[]> {
  const client = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    return [...(await client.unsafe(statement))];
  } finally {
    await client.end();
  }
}

it('keeps its cluster from one start to the next, and refuses a second server on it', async () => {
  const first = await startPostgres({ dir, port: 0, durable: false });
  await query(first.adminUrl, 'create table kept as select 42 as answer');
  await expect(startPostgres({ dir, port: 0, durable: false })).rejects.toThrow(
    `process ${process.pid} runs PostgreSQL in ${dir}`,
  );
  await first.stop();
  await first.stop();
  expect(await first.exited).toBe(0);
  const second = await startPostgres({ dir, port: 0, durable: false });
  expect(await query(second.adminUrl, 'select answer from kept')).toEqual([{ answer: 42 }]);
  await second.stop();
});

it('ends the server that a killed process left behind, and finds its data', async () => {
  const module = fileURLToPath(new URL('./postgres.ts', import.meta.url));
  const script = `
    const { startPostgres } = await import(${JSON.stringify(pathToFileURL(module).href)});
    const { adminUrl } = await startPostgres({ dir: ${JSON.stringify(dir)}, port: 0, durable: false });
    process.stdout.write(adminUrl);`;
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
  const child = spawn(
    process.execPath,
    ['--import', loader, '--input-type=module', '--eval', script],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const url = await new Promise<string>((resolve) =>
    child.stdout.once('data', (piece: Buffer) => resolve(piece.toString())),
  );
  await query(url, 'create table kept as select 43 as answer');
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('close', resolve));
  expect(await query(url, 'select 1 as alive')).toEqual([{ alive: 1 }]);

  const server = await startPostgres({ dir, port: 0, durable: false });
  expect(await query(server.adminUrl, 'select answer from kept')).toEqual([{ answer: 43 }]);
  await expect(query(url, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
  await server.stop();
});
