import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { claimJob, connect, type ClaimedJob, type Db } from '@armature/db';
import { DiskStore, type ObjectStore } from '@armature/storage';
import { z } from 'zod';
import { bundled } from './bundle.ts';
import { Interruptions } from './interruptions.ts';

/** What a process that kills itself works on: a job, and a database and a store that end it at its point. */
export interface KilledClaim {
  readonly job: ClaimedJob;
  readonly db: Db;
  readonly store: ObjectStore;
  /** Closes the database. */
  readonly close: () => Promise<void>;
}

const environment = z.object({
  DATABASE_URL: z.string(),
  STORE_ROOT: z.string(),
  STORE_PUBLIC_URL: z.string(),
  STORE_SECRET: z.string(),
  KILL_AT: z.coerce.number(),
});

/** Claims a job in the process that `runKilled` starts. */
export async function claimToKill(kind: ClaimedJob['kind']): Promise<KilledClaim> {
  const env = environment.parse(process.env);
  const interruptions = new Interruptions(env.KILL_AT, 'kill');
  const db = connect(env.DATABASE_URL, { max: 2 });
  const store = new DiskStore({
    kind: 'disk',
    root: env.STORE_ROOT,
    publicUrl: env.STORE_PUBLIC_URL,
    secret: env.STORE_SECRET,
  });
  const job = await claimJob(db, { kind, owner: 'killed', leaseMs: 600_000 });
  if (job === null) throw new Error('there is no job to claim');
  return {
    job,
    db: interruptions.database(db),
    store: interruptions.store(store),
    close: () => db.close(),
  };
}

/**
 * Runs a script of this folder that kills itself at a point.
 * @returns the signal that ended it
 */
export async function runKilled(
  script: string,
  at: {
    readonly point: number;
    readonly databaseUrl: string;
    readonly store: {
      readonly root: string;
      readonly publicUrl: string;
      readonly secret: string;
    };
    /** What this script wants besides. */
    readonly env: Readonly<Record<string, string>>;
  },
): Promise<NodeJS.Signals | null> {
  const worker = spawn(process.execPath, [await bundled(`test/support/${script}`)], {
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: at.databaseUrl,
      STORE_ROOT: at.store.root,
      STORE_PUBLIC_URL: at.store.publicUrl,
      STORE_SECRET: at.store.secret,
      KILL_AT: String(at.point),
      ...at.env,
    },
    stdio: 'inherit',
  });
  const [, signal] = (await once(worker, 'exit')) as [number | null, NodeJS.Signals | null];
  return signal;
}
