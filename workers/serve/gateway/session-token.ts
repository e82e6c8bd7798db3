import {
  ArmatureError,
  fromZodError,
  SESSION_TOKEN_ALGORITHM,
  SESSION_TOKEN_AUDIENCE,
  SESSION_TOKEN_ISSUER,
  SESSION_TOKEN_MAX_LIFE_S,
  SESSION_TOKEN_TYPE,
  sessionClaimsSchema,
  type SessionClaims,
} from '@armature/sdk/contract';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

/** Clocks of control plane and worker may differ by this much, s. */
const CLOCK_TOLERANCE_S = 5;

export interface VerifiedToken {
  readonly claims: SessionClaims;
  /** ms since the Unix epoch. */
  readonly expiresAt: number;
}

export type TokenVerifier = (token: string) => Promise<VerifiedToken>;

/** How long the keys of the control plane are believed, s. */
export interface KeyAges {
  /** A set that was fetched is asked for again after this. */
  readonly cacheS: number;
  /** A key id that the set does not have is asked for, but no sooner after the last fetch than this. */
  readonly cooldownS: number;
}

export const KEY_AGES: KeyAges = { cacheS: 600, cooldownS: 30 };

/**
 * The one way a session token is accepted: signed with EdDSA by a key of the control plane's set, of
 * its own type, for this audience, not expired, and made for no longer than any is. Keys are cached
 * and asked for again as `ages` says, whatever key ids arrive; nothing else of this needs the network.
 * The verifier throws ArmatureError `expired_token` or `invalid_token`, and `unavailable` when the
 * keys cannot be had.
 */
export function tokenVerifier(jwksUrl: string, ages: KeyAges = KEY_AGES): TokenVerifier {
  const keys = createRemoteJWKSet(new URL(jwksUrl), {
    cooldownDuration: ages.cooldownS * 1000,
    cacheMaxAge: ages.cacheS * 1000,
    timeoutDuration: 5_000,
  });
  return async (token) => {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: [SESSION_TOKEN_ALGORITHM],
      issuer: SESSION_TOKEN_ISSUER,
      audience: SESSION_TOKEN_AUDIENCE,
      typ: SESSION_TOKEN_TYPE,
      requiredClaims: ['sub', 'exp', 'iat', 'jti'],
      clockTolerance: CLOCK_TOLERANCE_S,
    }).catch((error: unknown) => {
      throw refusal(error);
    });
    const leftS = (payload.exp ?? Infinity) - Date.now() / 1000;
    if (leftS > SESSION_TOKEN_MAX_LIFE_S + CLOCK_TOLERANCE_S) {
      throw refusal(new errors.JWTClaimValidationFailed('lives too long', payload, 'exp'));
    }
    const claims = sessionClaimsSchema.safeParse(payload);
    if (!claims.success) throw fromZodError(claims.error, 'invalid_token', 'session token');
    return {
      claims: claims.data,
      expiresAt: ((payload.exp ?? 0) + CLOCK_TOLERANCE_S) * 1000,
    };
  };
}

/**
 * Of what `verify` accepts, the tokens for this worker: one that was stolen opens nothing elsewhere.
 * The verifier throws ArmatureError `forbidden` naming `worker` for another's.
 */
export function forWorker(verify: TokenVerifier, worker: string): TokenVerifier {
  return async (token) => {
    const verified = await verify(token);
    if (verified.claims.worker === worker) return verified;
    throw new ArmatureError('forbidden', `the session token is for another worker than ${worker}`, {
      field: 'worker',
      fix: 'Connect to the url that the token came with, or resume the session through the control plane.',
    });
  };
}

function refusal(error: unknown): ArmatureError {
  const cause = error;
  if (error instanceof errors.JWTExpired) {
    return new ArmatureError('expired_token', 'the session token has expired', {
      field: 'token',
      fix: 'Resume the session through the control plane for a new token.',
      cause,
    });
  }
  const bad =
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JWTClaimValidationFailed ||
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JOSEAlgNotAllowed ||
    error instanceof errors.JOSENotSupported ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys;
  if (bad) {
    return new ArmatureError('invalid_token', `the session token is not valid: ${error.message}`, {
      field: 'token',
      fix: 'Use the token of sessions.create or sessions.resume, unchanged.',
      cause,
    });
  }
  return new ArmatureError('unavailable', 'the keys for session tokens cannot be had', {
    fix: 'Connect again in a moment.',
    cause,
  });
}
