import { ArmatureError, routes, type RouteName } from '@armature/sdk/contract';
import type { Context, Hono } from 'hono';
import type { Call } from '../call.ts';
import { callerOf } from '../caller.ts';
import { readJsonBody } from './body.ts';

/** What Hono keeps of a request here. */
export interface HttpEnv {
  Variables: { requestId: string };
}

/** One REST route a verb of the contract. */
export function mountRest(app: Hono<HttpEnv>, call: Call): void {
  for (const name of Object.keys(routes) as RouteName[]) {
    const { method, path } = routes[name];
    app.on(method, path, async (c) => {
      const caller = callerOf(c.get('requestId'), (header) => c.req.header(header));
      return c.json(await call(name, caller, () => readInput(c, method)));
    });
  }
}

/** Path fields with the query (GET, DELETE) or the JSON body. */
async function readInput(c: Context, method: string): Promise<Record<string, unknown>> {
  const path: Record<string, string> = c.req.param();
  const rest = method === 'POST' ? await readJsonBody(c.req.raw) : readQuery(c);
  for (const field of Object.keys(path)) {
    if (!(field in rest)) continue;
    throw new ArmatureError('invalid_request', `${field}: is already in the path`, {
      field,
      fix: `Leave ${field} out of the ${method === 'POST' ? 'body' : 'query'}.`,
    });
  }
  return { ...rest, ...path };
}

/** A field that is there more than once stays a list, which no schema takes. */
function readQuery(c: Context): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(c.req.queries()).map(([name, values]) => [
      name,
      values.length === 1 ? values[0] : values,
    ]),
  );
}
