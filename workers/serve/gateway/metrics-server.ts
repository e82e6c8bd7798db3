import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { SessionLog } from '../session/index.ts';
import type { ServeMetrics } from '../metrics.ts';

export const METRICS_PATH = '/metrics';

/** A process of this machine that asks by itself: one that a proxy here asks for is somebody else. */
export function isLocal({ socket, headers }: IncomingMessage): boolean {
  const address = socket.remoteAddress ?? '';
  const isForwarded = headers.forwarded !== undefined || headers['x-forwarded-for'] !== undefined;
  return /^(?:::1|(?:::ffff:)?127\.\d+\.\d+\.\d+)$/.test(address) && !isForwarded;
}

export async function answerMetrics(
  { registry }: ServeMetrics,
  response: ServerResponse,
): Promise<void> {
  const body = await registry.metrics();
  response.writeHead(200, { 'Content-Type': registry.contentType }).end(body);
}

export interface MetricsServerOptions {
  readonly metrics: ServeMetrics;
  readonly host: string;
  readonly port: number;
  readonly log: SessionLog;
}

/** Serves the metrics, and nothing else, on a port of their own: whoever reaches it may see them. */
export async function serveMetricsAt(options: MetricsServerOptions): Promise<Server> {
  const { metrics, host, port, log } = options;
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== METRICS_PATH) {
      response.writeHead(404).end();
      return;
    }
    answerMetrics(metrics, response).catch((error: unknown) => {
      log.error({ err: error }, 'the metrics could not be read');
      response.destroy();
    });
  });
  server.listen(port, host);
  await once(server, 'listening');
  return server;
}
