import { trpcServer } from '@hono/trpc-server';
import { ArmatureError } from '@armature/sdk/contract';
import type { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { Logger } from 'pino';
import type { Call } from '../call.ts';
import { callerOf } from '../caller.ts';
import { MAX_BODY_BYTES } from '../http/body.ts';
import { retryAfterOf } from '../http/problem.ts';
import type { HttpEnv } from '../http/rest.ts';
import { createRouter } from './router.ts';

/** Calls that one HTTP request may carry. */
const MAX_BATCH_SIZE = 20;
const ENDPOINT = '/trpc';

export interface TrpcMount {
  /** As which those outside reach the API. */
  readonly origin: string;
  readonly log: Logger;
}

export function mountTrpc(app: Hono<HttpEnv>, call: Call, { origin, log }: TrpcMount): void {
  app.use(
    `${ENDPOINT}/*`,
    bodyLimit({
      maxSize: MAX_BODY_BYTES,
      onError: () => {
        throw new ArmatureError('payload_too_large', `the body exceeds ${MAX_BODY_BYTES} bytes`, {
          field: 'body',
          fix: 'Send less in one request.',
        });
      },
    }),
    trpcServer({
      endpoint: ENDPOINT,
      router: createRouter(call, origin),
      maxBatchSize: MAX_BATCH_SIZE,
      createContext: (_options, c) => ({
        ...callerOf(String(c.get('requestId')), (header) => c.req.header(header)),
      }),
      // Of a batch the longest wait: before, some of its calls would be refused again.
      responseMeta: ({ errors }) => {
        const waits = errors.flatMap(({ cause }) =>
          cause instanceof ArmatureError ? (retryAfterOf(cause) ?? []) : [],
        );
        return waits.length === 0 ? {} : { headers: { 'retry-after': String(Math.max(...waits)) } };
      },
      onError: ({ error, path }) => {
        // Calls log themselves; this is what never became one.
        if (!(error.cause instanceof ArmatureError)) {
          log.info({ path, trpc: error.code, err: error }, 'tRPC request refused');
        }
      },
    }),
  );
}
