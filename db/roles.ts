import postgres from 'postgres';

/** Lets the two roles of the processes log in with these passwords. */
export async function setRolePasswords(
  adminUrl: string,
  passwords: { app: string; worker: string },
): Promise<void> {
  const client = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  try {
    const roles = { armature_app: passwords.app, armature_worker: passwords.worker };
    for (const [role, password] of Object.entries(roles)) {
      const [row] = await client<{ statement: string }[]>`
        select format('alter role %I login password %L', ${role}::text, ${password}::text) as statement`;
      if (row === undefined) throw new Error('format gave no row');
      await client.unsafe(row.statement);
    }
  } finally {
    await client.end({ timeout: 5 });
  }
}

/** The URL of the same server and database for another role. */
export function urlForRole(
  adminUrl: string,
  role: 'armature_app' | 'armature_worker',
  password: string,
): string {
  const url = new URL(adminUrl);
  url.username = role;
  url.password = encodeURIComponent(password);
  return url.href;
}

/** Makes the database when absent and returns its URL. */
export async function ensureDatabase(adminUrl: string, name: string): Promise<string> {
  const client = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  try {
    const found = await client`select from pg_database where datname = ${name}`;
    if (found.length === 0) await client`create database ${client(name)}`;
  } finally {
    await client.end({ timeout: 5 });
  }
  const url = new URL(adminUrl);
  url.pathname = `/${encodeURIComponent(name)}`;
  return url.href;
}
