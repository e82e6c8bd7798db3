import type { SkinAnswer } from './skins.ts';

const ID = /_[0-9a-z]{26}/g;

/** An answer without the ids in it, so that two of them can be compared. */
export const shape = (answer: SkinAnswer): string => JSON.stringify(answer).replaceAll(ID, '_X');

/** What a field holds, with ids that never were in place of those in it. */
export const withoutIds = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value).replaceAll(ID, `_${'0'.repeat(26)}`));
