import { decodeFrame, encodeFrame, Ndarray, type SessionClaims } from '@armature/sdk/contract';
import { z } from 'zod';
import type { LastCommand } from '../chunks/index.ts';

/** What a session's next worker takes over from the one that leaves. */
export interface Handover {
  readonly instruction: string | undefined;
  readonly command: LastCommand;
}

const array = z.instanceof(Ndarray);
const schema = z.object({
  session: z.string(),
  epoch: z.number().int(),
  instruction: z.string().max(2000).optional(),
  last: array.optional(),
  before: array.optional(),
});

/**
 * A session's state as a resume token: text that its robot carries to the next worker. It holds
 * nothing that the robot could not tell itself, so it is not signed.
 */
export function resumeToken(claims: SessionClaims, { instruction, command }: Handover): string {
  const { last, before } = command;
  const bytes = encodeFrame({
    session: claims.sub,
    epoch: claims.epoch,
    instruction,
    last: last === undefined ? undefined : Ndarray.float32(Float32Array.from(last)),
    before: before === undefined ? undefined : Ndarray.float32(Float32Array.from(before)),
  });
  return Buffer.from(bytes).toString('base64url');
}

/**
 * What a resume token holds.
 * @returns undefined for a token of another session, of this epoch or a later one, or of another
 *   shape: then the session starts afresh.
 * @throws ArmatureError `invalid_frame` for what is no token at all.
 */
export function readResumeToken(claims: SessionClaims, token: string): Handover | undefined {
  const parsed = schema.safeParse(decodeFrame(new Uint8Array(Buffer.from(token, 'base64url'))));
  if (!parsed.success) return undefined;
  const { session, epoch, instruction } = parsed.data;
  if (session !== claims.sub || epoch >= claims.epoch) return undefined;
  const width = claims.embodiment.spec.action.length;
  const fits = (values: Ndarray | undefined): Float32Array | undefined => {
    const numbers = values?.toFloat32();
    return numbers?.length === width && numbers.every(Number.isFinite) ? numbers : undefined;
  };
  const last = fits(parsed.data.last);
  return {
    instruction,
    command: { last, before: last === undefined ? undefined : fits(parsed.data.before) },
  };
}
