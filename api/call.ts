import {
  fromZodError,
  routes,
  type RouteName,
  type RouteOutput,
  type RouteParsed,
} from '@armature/sdk/contract';
import type { Logger } from 'pino';
import { requireScope, type Actor, type Authenticator } from './auth/authenticator.ts';
import { classifyError } from './errors.ts';
import type { PlatformContext, ServiceDeps, TenantContext } from './services/context.ts';
import { services } from './services/index.ts';

export interface Caller {
  requestId: string;
  /** The Authorization header. */
  authorization: string | undefined;
}

/** One call of a verb, from whichever skin. `readInput` runs once the caller may make the call. */
export type Call = <N extends RouteName>(
  name: N,
  caller: Caller,
  readInput: () => Promise<unknown>,
) => Promise<RouteOutput<N>>;

/**
 * Key, scope, input, service, output, in this order, and one line in the log.
 * @throws ArmatureError, whatever happened.
 */
export function createCall(deps: ServiceDeps, authenticator: Authenticator, log: Logger): Call {
  return async (name, caller, readInput) => {
    const { requestId } = caller;
    const startedAt = performance.now();
    const line: Record<string, unknown> = { verb: name, request_id: requestId };
    try {
      const actor = await authenticator.authenticate(caller.authorization);
      Object.assign(line, describe(actor));
      requireScope(actor, routes[name].scope);
      const input = parseInput(name, await readInput());
      const output = await perform(name, deps, actor, requestId, input);
      log.info({ ...line, ms: performance.now() - startedAt }, 'call');
      return output;
    } catch (thrown) {
      const error = classifyError(thrown);
      Object.assign(line, { ms: performance.now() - startedAt, code: error.code });
      if (error.status >= 500) log.error({ ...line, err: error.cause ?? error }, 'call failed');
      else log.info({ ...line, field: error.field }, 'call refused');
      throw error;
    }
  };
}

function parseInput<N extends RouteName>(name: N, raw: unknown): RouteParsed<N> {
  const parsed = routes[name].input.safeParse(raw);
  if (!parsed.success) throw fromZodError(parsed.error, 'invalid_request', name);
  return parsed.data as RouteParsed<N>;
}

async function perform<N extends RouteName>(
  name: N,
  deps: ServiceDeps,
  actor: Actor,
  requestId: string,
  input: RouteParsed<N>,
): Promise<RouteOutput<N>> {
  const platform: PlatformContext = { ...deps, requestId };
  const ctx: PlatformContext | TenantContext =
    actor.kind === 'platform'
      ? platform
      : { ...platform, tenant: actor.tenantId, actor: actor.keyId };
  // `requireScope` has matched the actor's kind with the verb's, which the types cannot follow.
  const service = services[name] as (
    ctx: PlatformContext | TenantContext,
    input: RouteParsed<N>,
  ) => Promise<RouteOutput<N>>;
  const answer = await service(ctx, input);
  return routes[name].output.parse(answer) as RouteOutput<N>;
}

function describe(actor: Actor): Record<string, string> {
  return actor.kind === 'platform'
    ? { actor: 'platform' }
    : { actor: actor.keyId, tenant: actor.tenantId };
}
