import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ArmatureError, fromZodError, routes, type RouteName } from '../../contract/index.ts';

type Input = Record<string, unknown>;
export type Handler = (input: Input, request: IncomingMessage) => unknown;
export type Handlers = Partial<Record<RouteName, Handler>>;

/** Answers outside the table of routes, e.g. uploads; true when it took the request. */
export type Extra = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;

/**
 * A control plane made from the contract's table of routes over real HTTP: it finds the verb, gathers
 * and checks its input and hands it to the test's handler. An ArmatureError that a handler throws is
 * answered as problem details.
 */
export class FakeApi {
  /** Every verb that was asked for, in order, with its input. */
  readonly calls: {
    name: RouteName;
    input: Input;
    authorization: string | undefined;
    idempotencyKey: string | undefined;
  }[] = [];
  handlers: Handlers;
  extra: Extra | undefined;
  private readonly http = createServer((request, response) => {
    // A client that goes away in the middle of its request has no answer to wait for.
    this.answer(request, response).catch((cause: unknown) => {
      response.destroy(cause instanceof Error ? cause : undefined);
    });
  });

  static async start(handlers: Handlers, extra?: Extra): Promise<FakeApi> {
    const api = new FakeApi(handlers);
    api.extra = extra;
    await new Promise<void>((resolve) => api.http.listen(0, '127.0.0.1', resolve));
    return api;
  }

  private constructor(handlers: Handlers) {
    this.handlers = handlers;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.http.address() as AddressInfo).port}`;
  }

  names(): RouteName[] {
    return this.calls.map((call) => call.name);
  }

  async stop(): Promise<void> {
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if ((await this.extra?.(request, response)) === true) return;
    try {
      const result = await this.perform(request);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(result));
    } catch (error) {
      if (!(error instanceof ArmatureError)) {
        response.writeHead(500).end(String(error));
        return;
      }
      const problem = JSON.stringify(error.toProblem('req_1'));
      response.writeHead(error.status, { 'content-type': 'application/problem+json' }).end(problem);
    }
  }

  private async perform(request: IncomingMessage): Promise<unknown> {
    const url = new URL(request.url ?? '/', 'http://fake');
    const body = await read(request);
    for (const name of Object.keys(routes) as RouteName[]) {
      const route = routes[name];
      const fields = matchPath(route.path, url.pathname);
      if (route.method !== request.method || fields === undefined) continue;
      const sent = route.method === 'POST' ? (JSON.parse(body) as Input) : query(url);
      const parsed = route.input.safeParse({ ...sent, ...fields });
      if (!parsed.success) throw fromZodError(parsed.error, 'invalid_request', name);
      const { authorization } = request.headers;
      const header = request.headers['idempotency-key'];
      const idempotencyKey = typeof header === 'string' ? header : undefined;
      this.calls.push({ name, input: parsed.data, authorization, idempotencyKey });
      const handler = this.handlers[name];
      if (handler === undefined) throw new ArmatureError('not_found', `no handler for ${name}`);
      return handler(parsed.data, request);
    }
    throw new ArmatureError('not_found', `${url.pathname} is no verb`);
  }
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function query(url: URL): Input {
  return Object.fromEntries(url.searchParams);
}

function matchPath(template: string, path: string): Input | undefined {
  const names = [...template.matchAll(/:(\w+)/g)].map((match) => match[1] ?? '');
  const pattern = new RegExp(`^${template.replaceAll(/:\w+/g, '([^/]+)')}$`);
  const match = pattern.exec(path);
  if (match === null) return undefined;
  return Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(match[i + 1] ?? '')]));
}
