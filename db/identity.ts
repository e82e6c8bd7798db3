import type { drizzleAdapter } from '@better-auth/drizzle-adapter';
import { lte, sql } from 'drizzle-orm';
import type { Db } from './connection.ts';
import { redactDatabaseError } from './errors.ts';
import { accounts, attempts, people, signIns, verifications } from './identity-schema.ts';

/** What better-auth keeps people with: its own adapter over this handle. */
export type IdentityAdapter = ReturnType<typeof drizzleAdapter>;

/**
 * better-auth's adapter over our handle, its models being the tables of the schema `identity`. What it
 * throws holds no values of a statement, which are hashes of passwords and addresses of people. It is
 * loaded here, so that who signs nobody in does without.
 */
export async function identityAdapter(db: Db): Promise<IdentityAdapter> {
  const { drizzleAdapter } = await import('@better-auth/drizzle-adapter');
  const adapter = drizzleAdapter(db.orm, {
    provider: 'pg',
    schema: { user: people, account: accounts, session: signIns, verification: verifications },
    transaction: true,
  });
  return (options) => redacting(adapter(options));
}

/** Has each method of an adapter throw a `DatabaseError` where a statement fails. */
function redacting<T extends object>(adapter: T): T {
  for (const [name, value] of Object.entries(adapter) as [string, unknown][]) {
    if (typeof value !== 'function') continue;
    const method = async (...args: unknown[]): Promise<unknown> => {
      try {
        return (await Reflect.apply(value, adapter, args)) as unknown;
      } catch (error) {
        throw redactDatabaseError(error);
      }
    };
    // The library knows its adapters by identity, so that this one is changed and not copied.
    Reflect.set(adapter, name, method);
  }
  return adapter;
}

/** At most `max` attempts within `windowS` seconds, counted from the first of them. */
export interface AttemptRule {
  readonly windowS: number;
  readonly max: number;
}

/**
 * Counts an attempt that every process sees, in one statement.
 * @returns seconds until one is allowed again, null where this one is.
 * @throws DatabaseError
 */
export async function takeAttempt(db: Db, key: string, rule: AttemptRule): Promise<number | null> {
  const { windowS, max } = rule;
  const later = sql`clock_timestamp() + ${windowS} * interval '1 second'`;
  try {
    const [row] = await db.orm
      .insert(attempts)
      .values({ key, count: 1, until: later })
      .onConflictDoUpdate({
        target: attempts.key,
        set: {
          // One more than the most is enough to know.
          count: sql`case when ${attempts.until} <= clock_timestamp() then 1 else least(${attempts.count}, ${max}) + 1 end`,
          until: sql`case when ${attempts.until} <= clock_timestamp() then ${later} else ${attempts.until} end`,
        },
      })
      .returning({
        count: attempts.count,
        waitS: sql`extract(epoch from ${attempts.until} - clock_timestamp())`.mapWith(Number),
      });
    if (row === undefined) throw new Error('insert gave no row');
    return row.count > max ? Math.max(0.001, row.waitS) : null;
  } catch (error) {
    throw redactDatabaseError(error);
  }
}

/** Takes away what has expired: sign-ins, verifications, counts of attempts. @throws DatabaseError */
export async function sweepIdentity(db: Db): Promise<void> {
  const now = sql`now()`;
  try {
    await db.orm.delete(signIns).where(lte(signIns.expiresAt, now));
    await db.orm.delete(verifications).where(lte(verifications.expiresAt, now));
    await db.orm.delete(attempts).where(lte(attempts.until, now));
  } catch (error) {
    throw redactDatabaseError(error);
  }
}
