import { Sealing, SealingError } from '@armature/db';
import { z } from 'zod';

/** SEALING_KEYS of a process's environment: what secrets in the database are sealed with. */
export const sealingKeys = z.string().transform((text, ctx): Sealing => {
  try {
    return Sealing.of(text);
  } catch (error) {
    if (!(error instanceof SealingError)) throw error;
    ctx.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
});
