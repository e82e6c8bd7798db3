import type { ArmatureError } from '@armature/sdk/contract';

/** The error as an HTTP answer (RFC 9457). @param origin as which those outside reach the API, whatever name a proxy asked for */
export function problemResponse(error: ArmatureError, requestId: string, origin: string): Response {
  const headers = new Headers({
    'content-type': 'application/problem+json',
    'x-request-id': requestId,
    'cache-control': 'no-store',
  });
  if (error.status === 401) headers.set('www-authenticate', 'Bearer realm="armature"');
  const retryAfter = error.retryAfterS ?? (error.code === 'unavailable' ? 3 : undefined);
  if (retryAfter !== undefined)
    headers.set('retry-after', String(Math.max(1, Math.ceil(retryAfter))));
  return new Response(JSON.stringify(error.toProblem(requestId, origin)), {
    status: error.status,
    headers,
  });
}
