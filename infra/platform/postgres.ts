import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { access, chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { postgresAccount, type PostgresAccount } from './postgres-account.ts';
import { postgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';

export interface PostgresOptions {
  /** Folder of the cluster, its password and its log; made on the first start. */
  dir: string;
  /** Port on 127.0.0.1; 0 takes a free one. */
  port: number;
  /** False for tests: writes are not forced to the disk, and a crash may lose the cluster. */
  durable?: boolean;
}

export interface RunningPostgres {
  /** The superuser's URL, database `postgres`. */
  adminUrl: string;
  /** Resolves with the exit code when the server ends, whoever ended it. */
  exited: Promise<number | null>;
  /** Ends it cleanly (`fast`: open transactions are rolled back); idempotent. */
  stop(): Promise<void>;
}

const READY = 'database system is ready to accept connections';
const START_TIMEOUT_MS = 60_000;

/**
 * Starts the embedded PostgreSQL; a folder that has a cluster keeps it. A server that an earlier,
 * killed process left running on the folder is ended first.
 * @throws Error when another living process holds the folder, or the server does not start; its
 * message ends with the server's last words.
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const dir = path.resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const data = path.join(dir, 'data');
  const binaries = await postgresBinaries();
  const account = await postgresAccount([data, binaries.postgres]);
  await endOrphan(dir, data);
  const isDurable = options.durable ?? true;
  const password = await initialise(dir, data, { binaries, account, isDurable });
  const port = options.port === 0 ? await freePort() : options.port;
  const child = launch(account, binaries.postgres, [
    ...['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1'],
    ...['-c', 'unix_socket_directories=', '-c', 'max_connections=60'],
    ...(isDurable ? [] : ['-F', '-c', 'full_page_writes=off']),
  ]);
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGINT');
    await exited;
    await rm(path.join(dir, 'owner'), { force: true });
  };
  try {
    await ready(child, path.join(dir, 'postgres.log'));
  } catch (error) {
    await stop();
    throw error;
  }
  await writeFile(path.join(dir, 'owner'), `${process.pid}\n`);
  return { adminUrl: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, exited, stop };
}

/** Makes the cluster beside its place and moves it there, so that half a cluster is never found. */
async function initialise(
  dir: string,
  data: string,
  how: { binaries: PostgresBinaries; account: PostgresAccount; isDurable: boolean },
): Promise<string> {
  const { account } = how;
  const passwordFile = path.join(dir, 'password');
  if (await exists(data)) return (await readFile(passwordFile, 'utf8')).trim();
  const password = randomBytes(24).toString('base64url');
  const fresh = path.join(dir, 'data.new');
  const handed = path.join(fresh, 'password');
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { mode: 0o700 });
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const cluster = path.join(fresh, 'cluster');
  await mkdir(cluster, { mode: 0o700 });
  await writeFile(handed, `${password}\n`, { mode: 0o600 });
  const ids = account.ids ?? setprivIds(account);
  if (ids !== undefined) {
    for (const one of [fresh, cluster, handed]) await chown(one, ids.uid, ids.gid);
  }
  const child = launch(account, how.binaries.initdb, [
    ...[`--pgdata=${cluster}`, '--username=postgres', `--pwfile=${handed}`],
    ...['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C'],
    ...(how.isDurable ? [] : ['--no-sync']),
  ]);
  const words: Buffer[] = [];
  child.stderr?.on('data', (piece: Buffer) => words.push(piece));
  child.stdout?.resume();
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`initdb ended with ${String(code)}: ${lastWords(words)}`);
  await rename(cluster, data);
  await rm(fresh, { recursive: true });
  return password;
}

function setprivIds(account: PostgresAccount): { uid: number; gid: number } | undefined {
  const value = (flag: string) =>
    account.prefix.find((word) => word.startsWith(flag))?.slice(flag.length);
  const uid = value('--reuid=');
  const gid = value('--regid=');
  return uid === undefined || gid === undefined
    ? undefined
    : { uid: Number(uid), gid: Number(gid) };
}

function launch(account: PostgresAccount, program: string, words: string[]): ChildProcess {
  const [first = program, ...rest] = [...account.prefix, program, ...words];
  return spawn(first, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // A terminal's Ctrl-C reaches the platform alone, which then ends the server in its turn.
    detached: true,
    env: { LC_ALL: 'C', PATH: '/usr/bin:/bin', TZ: 'UTC' },
    ...account.ids,
  });
}

function ready(child: ChildProcess, logFile: string): Promise<void> {
  const log = createWriteStream(logFile, { flags: 'a', mode: 0o600 });
  const words: Buffer[] = [];
  child.stdout?.resume();
  return new Promise((resolve, reject) => {
    let isReady = false;
    const fail = (reason: string) => {
      if (!isReady) reject(new Error(`PostgreSQL did not start: ${reason}: ${lastWords(words)}`));
    };
    const timer = setTimeout(() => {
      fail(`not ready after ${START_TIMEOUT_MS / 1000} s`);
    }, START_TIMEOUT_MS);
    child.stderr?.on('data', (piece: Buffer) => {
      log.write(piece);
      if (isReady) return;
      words.push(piece);
      if (!Buffer.concat(words).includes(READY)) return;
      isReady = true;
      clearTimeout(timer);
      resolve();
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      fail(error.message);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      log.end();
      fail(`ended with ${String(code)}`);
    });
  });
}

/** Ends a server whose starter is dead; refuses while the starter lives. */
async function endOrphan(dir: string, data: string): Promise<void> {
  const pid = await readPid(path.join(data, 'postmaster.pid'));
  if (pid === null || !isAlive(pid)) return;
  const owner = await readPid(path.join(dir, 'owner'));
  if (owner !== null && isAlive(owner)) {
    throw new Error(`process ${owner} runs PostgreSQL in ${dir}; stop it first`);
  }
  process.kill(pid, 'SIGINT');
  for (let waited = 0; isAlive(pid); waited += 50) {
    if (waited >= START_TIMEOUT_MS) throw new Error(`PostgreSQL ${pid} in ${dir} does not end`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function readPid(file: string): Promise<number | null> {
  if (!(await exists(file))) return null;
  const pid = Number.parseInt(await readFile(file, 'utf8'), 10);
  return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('no port'));
        else resolve(address.port);
      });
    });
  });
}

function lastWords(words: readonly Buffer[]): string {
  return Buffer.concat(words).toString('utf8').trim().split('\n').slice(-5).join(' | ');
}
