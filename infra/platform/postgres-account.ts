import { spawnSync } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';

/** Which account PostgreSQL's programs run under, and how they are started for it. */
export interface PostgresAccount {
  /** Absent where they run as we do. */
  ids?: { uid: number; gid: number };
  /** Words before the program. */
  prefix: readonly string[];
}

/**
 * PostgreSQL refuses to run as root. As root it runs under the account `postgres` where the machine
 * has one, else `nobody`; no account is made. Where that account cannot reach one of `paths` (a
 * checkout below /root), it is given the capability to pass folders, and only that, by setpriv.
 */
export async function postgresAccount(paths: readonly string[]): Promise<PostgresAccount> {
  if (process.getuid?.() !== 0) return { prefix: [] };
  const accounts = await readAccounts();
  const ids = accounts.get('postgres') ?? accounts.get('nobody');
  if (ids === undefined) {
    throw new Error(
      'PostgreSQL does not run as root and there is no account postgres or nobody to run it under; start as another user',
    );
  }
  for (const one of paths) {
    if (await reaches(ids, one)) continue;
    const setpriv = ['setpriv', `--reuid=${ids.uid}`, `--regid=${ids.gid}`, '--clear-groups'];
    const passing = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--'];
    const prefix = [...setpriv, ...passing];
    if (runs([...prefix, 'ls', path.dirname(one)])) return { prefix };
    throw new Error(
      `PostgreSQL's account (uid ${ids.uid}) cannot reach ${one}: move the checkout out of root's home, or start as another user`,
    );
  }
  return { ids, prefix: [] };
}

/** Accounts of the machine by name. */
async function readAccounts(): Promise<Map<string, { uid: number; gid: number }>> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n');
  return new Map(
    lines.flatMap((line) => {
      const [name, , uid, gid] = line.split(':');
      if (name === undefined || uid === undefined || gid === undefined) return [];
      return [[name, { uid: Number(uid), gid: Number(gid) }] as const];
    }),
  );
}

/** Whether the account may pass every folder above `target`. */
async function reaches(ids: { uid: number; gid: number }, target: string): Promise<boolean> {
  for (let folder = path.dirname(target); ; folder = path.dirname(folder)) {
    const { mode, uid, gid } = await stat(folder);
    const bit = uid === ids.uid ? 0o100 : gid === ids.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (folder === path.dirname(folder)) return true;
  }
}

function runs([program = '', ...words]: string[]): boolean {
  return spawnSync(program, words, { stdio: 'ignore' }).status === 0;
}
