import type { ArmatureError } from '@armature/sdk/contract';

/** The error as an HTTP answer (RFC 9457). @param origin as which those outside reach the API, whatever name a proxy asked for */
export function problemResponse(error: ArmatureError, requestId: string, origin: string): Response {
  const headers = new Headers({
    'content-type': 'application/problem+json',
    'x-request-id': requestId,
    'cache-control': 'no-store',
  });
  if (error.status === 401) headers.set('www-authenticate', 'Bearer realm="armature"');
  const wait = retryAfterOf(error);
  if (wait !== undefined) headers.set('retry-after', String(wait));
  return new Response(JSON.stringify(error.toProblem(requestId, origin)), {
    status: error.status,
    headers,
  });
}

/** Whole seconds after which the same request may succeed, where that is known. */
export function retryAfterOf(error: ArmatureError): number | undefined {
  const wait = error.retryAfterS ?? (error.code === 'unavailable' ? 3 : undefined);
  return wait === undefined ? undefined : Math.max(1, Math.ceil(wait));
}
