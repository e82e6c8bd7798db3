import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  connect,
  ensureDatabase,
  migrate,
  setRolePasswords,
  urlForRole,
  type Db,
} from '@armature/db';
import postgres from 'postgres';
import { startPostgres } from '../../infra/platform/postgres.ts';

export interface TestDatabase {
  /** Superuser, this database: for looking at what the roles may not see. */
  adminUrl: string;
  /** Role of the API. */
  appUrl: string;
  /** Role of the workers. */
  workerUrl: string;
  app: Db;
  worker: Db;
}

export interface TestPostgres {
  adminUrl: string;
  /** A new, migrated database, cloned from a template; 30 ms. */
  database(): Promise<TestDatabase>;
  /** Kills the server as a crash does (SIGKILL) and starts it again on its folder and port. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

const PASSWORD = 'only-for-tests';

/** A PostgreSQL of this test file's own on a free port; start it in `beforeAll`, about a second. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const dir = await mkdtemp(path.join(tmpdir(), 'armature-pg-'));
  let server = await startPostgres({ dir, port: 0, durable: false });
  const open: Db[] = [];
  const template = await ensureDatabase(server.adminUrl, 'template_armature');
  await migrate(template);
  await setRolePasswords(template, { app: PASSWORD, worker: PASSWORD });
  let clones = 0;
  return {
    adminUrl: server.adminUrl,
    database: async () => {
      const name = `test_${++clones}`;
      const client = postgres(server.adminUrl, { max: 1 });
      await client`create database ${client(name)} template template_armature`;
      await client.end();
      const adminUrl = await ensureDatabase(server.adminUrl, name);
      const appUrl = urlForRole(adminUrl, 'armature_app', PASSWORD);
      const workerUrl = urlForRole(adminUrl, 'armature_worker', PASSWORD);
      const app = connect(appUrl, { max: 8, name: 'test-app' });
      const worker = connect(workerUrl, { max: 8, name: 'test-worker' });
      open.push(app, worker);
      return { adminUrl, appUrl, workerUrl, app, worker };
    },
    crash: async () => {
      const [pid = ''] = (await readFile(path.join(dir, 'data', 'postmaster.pid'), 'utf8')).split(
        '\n',
      );
      const port = Number(new URL(server.adminUrl).port);
      process.kill(Number(pid), 'SIGKILL');
      await server.exited;
      await server.stop();
      // Its children may hold the shared memory a moment longer than the server lives.
      for (let attempt = 0; ; attempt++) {
        try {
          server = await startPostgres({ dir, port, durable: false });
          return;
        } catch (error) {
          if (attempt === 50) throw error;
          await sleep(100);
        }
      }
    },
    stop: async () => {
      for (const db of open) await db.close();
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
