import { TENANT_HEADER } from '@armature/sdk/contract';

/** What a request says of who sends it. */
export interface Caller {
  requestId: string;
  /** The Authorization header. */
  authorization: string | undefined;
  /** The Cookie header. */
  cookies: string | undefined;
  /** The tenant that a person has chosen. */
  tenant: string | undefined;
  /** The Origin header: the page that has a browser send this. */
  origin: string | undefined;
  /** The Idempotency-Key header. */
  idempotencyKey: string | undefined;
  /** Whether this goes on with a request that the rate has counted. */
  isCounted: boolean;
}

export function callerOf(requestId: string, header: (name: string) => string | undefined): Caller {
  return {
    requestId,
    authorization: header('authorization'),
    cookies: header('cookie'),
    tenant: header(TENANT_HEADER),
    origin: header('origin'),
    idempotencyKey: header('idempotency-key'),
    isCounted: false,
  };
}
