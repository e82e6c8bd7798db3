import {
  ArmatureError,
  fromZodError,
  routes,
  type RouteName,
  type RouteOutput,
  type RouteParsed,
} from '@armature/sdk/contract';
import type { Logger } from 'pino';
import { requireScope, type Actor, type Authenticator } from './auth/authenticator.ts';
import { classifyError } from './errors.ts';
import { answerOnce } from './idempotent.ts';
import type { RateLimiter } from './rate-limiter.ts';
import type { PlatformContext, ServiceDeps, TenantContext } from './services/context.ts';
import { services } from './services/index.ts';

export interface Caller {
  requestId: string;
  /** The Authorization header. */
  authorization: string | undefined;
  /** The Idempotency-Key header. */
  idempotencyKey: string | undefined;
}

/** One call of a verb, from whichever skin. `readInput` runs once the caller may make the call. */
export type Call = <N extends RouteName>(
  name: N,
  caller: Caller,
  readInput: () => Promise<unknown>,
) => Promise<RouteOutput<N>>;

export interface CallDeps {
  readonly services: ServiceDeps;
  readonly authenticator: Authenticator;
  readonly limiter: RateLimiter;
  /** Key of what idempotent answers are sealed with. */
  readonly pepper: string;
  readonly log: Logger;
}

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{8,200}$/;

/**
 * Key, rate, scope, input, service, output, in this order, and one line in the log.
 * @throws ArmatureError, whatever happened.
 */
export function createCall({
  services: deps,
  authenticator,
  limiter,
  pepper,
  log,
}: CallDeps): Call {
  return async (name, caller, readInput) => {
    const { requestId } = caller;
    const startedAt = performance.now();
    const line: Record<string, unknown> = { verb: name, request_id: requestId };
    try {
      const actor = await authenticator.authenticate(caller.authorization);
      Object.assign(line, describe(actor));
      if (actor.kind === 'key') await limiter.admit(actor.tenantId, actor.keyId);
      requireScope(actor, routes[name].scope);
      const input = parseInput(name, await readInput());
      const key = idempotencyKeyOf(name, caller, actor);
      const platform: PlatformContext = { ...deps, requestId };
      const output =
        actor.kind === 'platform'
          ? await perform(name, platform, input)
          : await performOnce(name, tenantContext(platform, actor, name), input, key, pepper);
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

function tenantContext(
  platform: PlatformContext,
  actor: Extract<Actor, { kind: 'key' }>,
  verb: RouteName,
): TenantContext {
  return { ...platform, tenant: actor.tenantId, actor: actor.keyId, verb };
}

function parseInput<N extends RouteName>(name: N, raw: unknown): RouteParsed<N> {
  const parsed = routes[name].input.safeParse(raw);
  if (!parsed.success) throw fromZodError(parsed.error, 'invalid_request', name);
  return parsed.data as RouteParsed<N>;
}

/** The key of a verb that changes something; reads may carry one, which means nothing. */
function idempotencyKeyOf(name: RouteName, caller: Caller, actor: Actor): string | undefined {
  const key = caller.idempotencyKey;
  if (key === undefined || routes[name].method === 'GET') return undefined;
  const field = 'idempotency-key';
  if (actor.kind === 'platform') {
    throw new ArmatureError('invalid_request', `${field}: the operator’s verbs take none`, {
      field,
      fix: 'Leave the header out.',
    });
  }
  if (IDEMPOTENCY_KEY.test(key)) return key;
  throw new ArmatureError('invalid_request', `${field}: must be 8 to 200 printable characters`, {
    field,
    fix: 'Send a random id of the request, such as a UUID.',
  });
}

async function performOnce<N extends RouteName>(
  name: N,
  ctx: TenantContext,
  input: RouteParsed<N>,
  key: string | undefined,
  pepper: string,
): Promise<RouteOutput<N>> {
  if (key === undefined) return perform(name, ctx, input);
  const answer = await answerOnce({ ctx, input, key, pepper }, (claimed) =>
    perform(name, claimed, input),
  );
  return routes[name].output.parse(answer) as RouteOutput<N>;
}

async function perform<N extends RouteName>(
  name: N,
  ctx: PlatformContext | TenantContext,
  input: RouteParsed<N>,
): Promise<RouteOutput<N>> {
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
