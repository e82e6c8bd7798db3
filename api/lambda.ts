import type { Hono } from 'hono';
import type { GetConnInfo } from 'hono/conninfo';
import pino from 'pino';
import { createApp } from './app.ts';
import { readConfig } from './config.ts';
import { depsOf } from './deps.ts';
import type { HttpEnv } from './http/rest.ts';

/** An event of API Gateway, of a function URL or of a load balancer, and the answer to it. */
type Handler = (event: unknown, context?: unknown) => Promise<unknown>;

/** What hono 4 has at `hono/aws-lambda` and hono 5 will have in a package of its own. */
interface LambdaAdapter {
  handle(app: Hono<HttpEnv>): Handler;
  getConnInfo: GetConnInfo;
}

/**
 * The same application as a function of AWS Lambda, behind an API Gateway or a function URL. An
 * instance answers one request at a time, so DATABASE_POOL=1 is enough for it; answers are whole,
 * so that there are no event streams: `finetunes.events` tells the same.
 */
const config = readConfig();
const log = pino(
  { level: config.env.LOG_LEVEL, name: 'api' },
  pino.destination({ dest: 2, sync: true }),
);
const adapter = (await import('hono/aws-lambda')) as unknown as LambdaAdapter;

export const handler: Handler = adapter.handle(
  await createApp({
    ...depsOf(config, log, {
      connectionAddress: (c) => adapter.getConnInfo(c).remote.address,
      // An instance may stand still between answers, and what it has not sent by then waits.
      outlivesAnswers: false,
    }),
    eventStreams: false,
  }),
);
