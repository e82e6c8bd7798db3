import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** A real S3 server in one binary, Apache-2.0: github.com/versity/versitygw. */
const MODULE = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/versitygw', import.meta.url));

/** The binary on PATH or where `installVersitygw` puts it, else null. */
export function findVersitygw(): string | null {
  const folders = [CACHE, ...(process.env['PATH'] ?? '').split(path.delimiter)];
  for (const folder of folders) {
    const file = path.join(folder, 'versitygw');
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
  return null;
}

/** Builds it with Go, which takes about two minutes, and returns its path. */
export function installVersitygw(): string {
  mkdirSync(CACHE, { recursive: true });
  execFileSync('go', ['install', MODULE], {
    stdio: 'inherit',
    env: { ...process.env, GOBIN: CACHE },
  });
  return path.join(CACHE, 'versitygw');
}

export interface RunningVersitygw {
  endpoint: string;
  accessKeyId: string;
  secretAccessKey: string;
  stop(): Promise<void>;
}

/** Serves a folder of its own on a free port of loopback. */
export async function startVersitygw(binary: string): Promise<RunningVersitygw> {
  const dir = await mkdtemp(path.join(tmpdir(), 'armature-s3-'));
  const [data, meta] = [path.join(dir, 'data'), path.join(dir, 'meta')];
  mkdirSync(data);
  mkdirSync(meta);
  const port = await freePort();
  const accessKeyId = 'test-access';
  const secretAccessKey = randomBytes(16).toString('hex');
  const child: ChildProcess = spawn(
    binary,
    ['--port', `127.0.0.1:${port}`, '--quiet', 'posix', '--sidecar', meta, data],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey },
    },
  );
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const endpoint = `http://127.0.0.1:${port}`;
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(endpoint).catch(() => null);
    if (answer !== null) break;
    if (attempt === 200 || child.exitCode !== null) throw new Error('versitygw does not answer');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    endpoint,
    accessKeyId,
    secretAccessKey,
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
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
