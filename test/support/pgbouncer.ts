import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from './api-process.ts';

export interface PgBouncer {
  /** The same database and role, through the pooler. */
  through(databaseUrl: string): string;
  stop(): Promise<void>;
}

/**
 * PgBouncer in transaction mode on loopback, in front of the server of these URLs.
 *
 * @param databaseUrls one for each role that will come, with its password.
 * @param poolSize connections to the server that all clients of a role share.
 * @throws Error with its last words when it does not start, ENOENT where it is not installed.
 */
export async function startPgBouncer(
  databaseUrls: readonly string[],
  poolSize: number,
): Promise<PgBouncer> {
  const [first] = databaseUrls;
  if (first === undefined) throw new RangeError('a pooler needs a server');
  const dir = await mkdtemp(path.join(tmpdir(), 'armature-pgbouncer-'));
  const port = await freePort();
  const users = path.join(dir, 'users.txt');
  const config = path.join(dir, 'pgbouncer.ini');
  const logins = databaseUrls.map((text) => {
    const { username, password } = new URL(text);
    return `"${decodeURIComponent(username)}" "${decodeURIComponent(password)}"\n`;
  });
  // It takes no root's rights beyond reading its files.
  const isRoot = process.getuid?.() === 0;
  await writeFile(users, logins.join(''));
  await writeFile(
    config,
    [
      '[databases]',
      `* = host=127.0.0.1 port=${new URL(first).port}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = scram-sha-256',
      `auth_file = ${users}`,
      'pool_mode = transaction',
      `default_pool_size = ${poolSize}`,
      'max_client_conn = 200',
      ...(isRoot ? ['user = nobody'] : []),
      '',
    ].join('\n'),
  );
  const child = spawn('pgbouncer', [config], { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  let said = '';
  const ready = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.stderr.on('data', (text: Buffer) => {
      said += text.toString();
      if (said.includes('process up')) resolve();
    });
    child.once('close', (code) => {
      reject(new Error(`pgbouncer ended with ${String(code)}: ${said.slice(-1000)}`));
    });
  });
  const stop = async (): Promise<void> => {
    if (child.pid !== undefined && child.exitCode === null) {
      child.kill('SIGTERM');
      await exited;
    }
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await ready;
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    through: (text) => {
      const url = new URL(text);
      url.port = String(port);
      return url.href;
    },
    stop,
  };
}

/** Whether PgBouncer can be run here. */
export async function hasPgBouncer(): Promise<boolean> {
  const child = spawn('pgbouncer', ['--version'], { stdio: 'ignore' });
  try {
    await once(child, 'close');
    return child.exitCode === 0;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
