import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';

/** An upload of one large file may take this long. */
const REQUEST_TIMEOUT_MS = 3_600_000;
const HEADERS_TIMEOUT_MS = 20_000;
/** How long what runs may take after the server was told to close. */
const CLOSE_GRACE_MS = 10_000;

export interface Listening {
  url: string;
  port: number;
  /** Takes no more connections, lets what runs finish, and then cuts it. */
  close(): Promise<void>;
}

/** Serves a fetch handler over HTTP. @throws Error when the address is taken. */
export async function listen(
  app: { fetch: (request: Request, env: never) => Response | Promise<Response> },
  at: { hostname: string; port: number },
): Promise<Listening> {
  const server = createAdaptorServer({
    fetch: app.fetch as (request: Request, env: unknown) => Response | Promise<Response>,
    serverOptions: { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: HEADERS_TIMEOUT_MS },
  }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.port, at.hostname, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return {
    url: `http://${at.hostname}:${address.port}`,
    port: address.port,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => {
          if (error === undefined) resolve();
          else reject(error);
        });
        server.closeIdleConnections();
        setTimeout(() => {
          server.closeAllConnections();
        }, CLOSE_GRACE_MS).unref();
      }),
  };
}
