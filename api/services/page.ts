import { sql } from '@armature/db';
import { ArmatureError } from '@armature/sdk/contract';
import { z } from 'zod';
import { needStorableText } from '../storable-text.ts';

/** Of a row: year 0 is none to the database. */
const created = z.iso.datetime().refine((text) => !text.startsWith('0000'));
const cursorSchema = z.tuple([created, z.string().max(200)]);

interface Page {
  limit: number;
  cursor?: string | undefined;
}

/** What a list's query takes of its page: newest first, from behind the cursor. */
export function keyset(page: Page, createdAt: unknown, id: unknown) {
  const after = page.cursor === undefined ? undefined : decode(page.cursor);
  return {
    where:
      after === undefined
        ? undefined
        : sql`(${createdAt}, ${id}) < (${after[0]}::timestamptz, ${after[1]})`,
    orderBy: [sql`${createdAt} desc`, sql`${id} desc`],
    /** One more than asked, which tells whether a page follows. */
    limit: page.limit + 1,
  };
}

/** The answer of a list from `limit + 1` rows. */
export function pageOf<R extends { createdAt: Date; id: string }, T>(
  page: Page,
  rows: readonly R[],
  present: (row: R) => T,
): { items: T[]; next_cursor: string | null } {
  const shown = rows.slice(0, page.limit);
  const last = shown.at(-1);
  return {
    items: shown.map(present),
    next_cursor: rows.length > page.limit && last !== undefined ? encode(last) : null,
  };
}

function encode(row: { createdAt: Date; id: string }): string {
  return Buffer.from(JSON.stringify([row.createdAt.toISOString(), row.id])).toString('base64url');
}

function decode(cursor: string): [string, string] {
  try {
    const after = cursorSchema.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
    needStorableText(after, 'cursor');
    return after;
  } catch (cause) {
    throw new ArmatureError('invalid_request', 'cursor: is no cursor of this list', {
      field: 'cursor',
      fix: 'Use next_cursor of the page before, unchanged, or leave it out.',
      cause,
    });
  }
}
