import {
  connect,
  DatabaseError,
  Sealing,
  SealingError,
  sqlState,
  type ConnectOptions,
  type Db,
} from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';

export type Database = Db;

export function openDatabase(url: string, options: ConnectOptions): Database {
  return connect(url, options);
}

export { isBrokenConnection } from '@armature/db';
export type { Sealing };

/** @param keys as `Sealing.of` takes them. @throws ArmatureError `invalid_request` saying what is wrong. */
export function openSealing(keys: string): Sealing {
  try {
    return Sealing.of(keys);
  } catch (error) {
    if (!(error instanceof SealingError)) throw error;
    throw new ArmatureError('invalid_request', `SEALING_KEYS: ${error.message}`, {
      field: 'SEALING_KEYS',
      fix: 'Set SEALING_KEYS to id:key, the key being 32 random bytes in base64url.',
    });
  }
}

/** What a failure of the database means to a caller: typed where trying again helps, else null. */
export function databaseTrouble(error: unknown): ArmatureError | null {
  if (!(error instanceof DatabaseError)) return null;
  if (error.code === sqlState.queryCanceled) {
    return new ArmatureError('timeout', 'the request took too long', {
      fix: 'Ask for less at a time, or try again.',
      cause: error,
    });
  }
  // Two transactions that wait for each other: PostgreSQL undoes one.
  if (error.code.startsWith('40')) {
    return new ArmatureError('unavailable', 'the request stood in another one’s way', {
      fix: 'Send it again.',
      retryAfterS: 1,
      cause: error,
    });
  }
  // Class 08 and 57P0x, and the driver's own codes: the server is gone, going or not there yet.
  if (/^(08|57P0|53)|^(CONNECT|CONNECTION_|ECONN|ETIMEDOUT)/.test(error.code)) {
    return new ArmatureError('unavailable', 'the database is not reachable', {
      fix: 'Try again in a few seconds.',
      cause: error,
    });
  }
  return null;
}
