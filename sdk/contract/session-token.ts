import * as z from 'zod';
import { embodimentSpecSchema } from './embodiment.ts';
import { readerOf } from './reader.ts';

/** `typ` header of a session token; no other credential carries it. */
export const SESSION_TOKEN_TYPE = 'armature-session+jwt';
/** Audience of a session token: the pool of serve workers. */
export const SESSION_TOKEN_AUDIENCE = 'armature-workers';
/** Longest life that a worker takes a token for, s: what a stolen signing key is good for once it is no more published. */
export const SESSION_TOKEN_MAX_LIFE_S = 3_600;
export const SESSION_TOKEN_ISSUER = 'armature';
/** Pinned signature algorithm. */
export const SESSION_TOKEN_ALGORITHM = 'EdDSA';

export const samplerSchema = z.strictObject({
  /** DDIM steps, 1 to 20. */
  steps: z.number().int().min(1).max(20),
  /** Scale of the starting noise, 0 (deterministic) to 1. */
  noise_scale: z.number().min(0).max(1),
});
export type Sampler = z.infer<typeof samplerSchema>;

/** When a session's reasoning is renewed. */
export const reasoningCadenceSchema = z.discriminatedUnion('when', [
  z.strictObject({ when: z.literal('every_chunk') }),
  z.strictObject({ when: z.literal('interval'), ms: z.number().int().min(1).max(60_000) }),
  z.strictObject({ when: z.literal('instruction_change') }),
  /**
   * When the instruction changes, and beside the chunks when the pictures have: by `scene`, mean
   * absolute difference from those that the last reasoning saw, 0 (any) to 1 (black against white).
   */
  z.strictObject({ when: z.literal('change'), scene: z.number().min(0).max(1) }),
  z.strictObject({ when: z.literal('off') }),
]);
export type ReasoningCadence = z.infer<typeof reasoningCadenceSchema>;

const claims = z.object({
  sub: z.string(),
  tenant: z.string(),
  robot: z.string(),
  /** Id of the one worker that the token opens a connection at, or renews one. */
  worker: z.string(),
  embodiment: z.object({ id: z.string(), spec: embodimentSpecSchema }),
  /** Object-store prefix of the policy version and the sha256 of its manifest. */
  policy: z.object({ version_id: z.string(), digest: z.string(), prefix: z.string() }),
  sampler: samplerSchema.optional(),
  reasoning: reasoningCadenceSchema,
  /** Epoch of the session: a reconnect has a higher one and late chunks of the old are void. */
  epoch: z.number().int().nonnegative(),
  limits: z.object({
    max_in_flight: z.number().int().positive(),
    max_hz: z.number().positive(),
    /** Weight of the tenant among those whose robots wait for the same engines; 1 where it is absent. */
    share: z.number().positive().optional(),
  }),
});
/**
 * Claims of a session token beside iss, aud, iat, exp, jti; `sub` is the session's id. As a worker reads
 * them, which may be older than the control plane that wrote them.
 */
export const sessionClaimsSchema = readerOf(claims);
export type SessionClaims = z.infer<typeof sessionClaimsSchema>;
