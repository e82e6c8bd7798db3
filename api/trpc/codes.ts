import type { ArmatureError } from '@armature/sdk/contract';
import type { TRPCError } from '@trpc/server';

const byStatus: Readonly<Record<number, TRPCError['code']>> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  413: 'PAYLOAD_TOO_LARGE',
  422: 'UNPROCESSABLE_CONTENT',
  429: 'TOO_MANY_REQUESTS',
  499: 'CLIENT_CLOSED_REQUEST',
  500: 'INTERNAL_SERVER_ERROR',
  503: 'SERVICE_UNAVAILABLE',
  504: 'GATEWAY_TIMEOUT',
};

/** tRPC's name for an error's status. */
export function trpcCodeOf(error: ArmatureError): TRPCError['code'] {
  return byStatus[error.status] ?? 'INTERNAL_SERVER_ERROR';
}
