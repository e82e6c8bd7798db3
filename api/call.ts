import {
  ArmatureError,
  fromZodError,
  IDEMPOTENCY_KEY,
  routes,
  type RouteName,
  type RouteOutput,
  type RouteParsed,
} from '@armature/sdk/contract';
import type { Logger } from 'pino';
import { requireScope, type Actor } from './auth/authenticator.ts';
import type { Asked } from './auth/identify.ts';
import type { Caller } from './caller.ts';
import { classifyError } from './errors.ts';
import { answerOnce } from './idempotent.ts';
import type { RateLimiter } from './rate-limiter.ts';
import type {
  PersonContext,
  PlatformContext,
  ServiceDeps,
  TenantContext,
} from './services/context.ts';
import { services } from './services/index.ts';
import { needStorableText } from './storable-text.ts';

/** One call of a verb, from whichever skin. `readInput` runs once the caller may make the call. */
export type Call = <N extends RouteName>(
  name: N,
  caller: Caller,
  readInput: () => Promise<unknown>,
) => Promise<RouteOutput<N>>;

export interface CallDeps {
  readonly services: ServiceDeps;
  /** Who calls, by what the request shows. @throws ArmatureError */
  readonly identify: (caller: Caller, asked: Asked) => Promise<Actor>;
  readonly limiter: RateLimiter;
  /** Key of what idempotent answers are sealed with. */
  readonly pepper: string;
  readonly log: Logger;
}

/**
 * Who calls, rate, scope, input, service, output, in this order, and one line in the log.
 * @throws ArmatureError, whatever happened.
 */
export function createCall({ services: deps, identify, limiter, pepper, log }: CallDeps): Call {
  return async (name, caller, readInput) => {
    const { requestId } = caller;
    const startedAt = performance.now();
    const line: Record<string, unknown> = { verb: name, request_id: requestId };
    try {
      const actor = await identify(caller, routes[name]);
      Object.assign(line, describe(actor));
      if ('tenantId' in actor && !caller.isCounted) {
        await limiter.admit(actor.tenantId, idOf(actor));
      }
      requireScope(actor, routes[name].scope);
      const input = parseInput(name, await readInput());
      const key = idempotencyKeyOf(name, caller);
      const platform: PlatformContext = { ...deps, requestId };
      const output = await performAs(actor, { name, platform, input, key, pepper });
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

interface Performance<N extends RouteName> {
  readonly name: N;
  readonly platform: PlatformContext;
  readonly input: RouteParsed<N>;
  /** The caller's idempotency key. */
  readonly key: string | undefined;
  readonly pepper: string;
}

async function performAs<N extends RouteName>(
  actor: Actor,
  { name, platform, input, key, pepper }: Performance<N>,
): Promise<RouteOutput<N>> {
  if (actor.kind === 'platform') {
    if (key === undefined) return perform(name, platform, input);
    const once = { ctx: platform, holder: 'operator', verb: name, input, key, pepper } as const;
    const answer = await answerOnce(once, (claimed) => perform(name, claimed, input));
    return routes[name].output.parse(answer) as RouteOutput<N>;
  }
  if (actor.kind === 'person') {
    const { person } = actor;
    // Which tenant such a verb is about shows in its input, so that the verb says when it knows. The
    // answer is for this person alone, whoever else may send the same.
    const request = { verb: name, input: { input, person: person.id }, pepper };
    const inTenant: PersonContext['inTenant'] = async (tenant, work) => {
      const ctx = { ...platform, tenant, actor: person.id, keyId: null, verb: name };
      return key === undefined
        ? work(ctx)
        : answerOnce({ ctx, holder: { tenant }, key, ...request }, work);
    };
    return perform(name, { ...platform, person, inTenant }, input);
  }
  const ctx = {
    ...platform,
    tenant: actor.tenantId,
    actor: idOf(actor),
    keyId: actor.kind === 'key' && !actor.scopes.includes('invitation') ? actor.keyId : null,
    verb: name,
  };
  if (key === undefined) return perform(name, ctx, input);
  const holder = { tenant: actor.tenantId };
  const answer = await answerOnce({ ctx, holder, verb: name, input, key, pepper }, (claimed) =>
    perform(name, claimed, input),
  );
  return routes[name].output.parse(answer) as RouteOutput<N>;
}

function parseInput<N extends RouteName>(name: N, raw: unknown): RouteParsed<N> {
  const parsed = routes[name].input.safeParse(raw);
  if (!parsed.success) throw fromZodError(parsed.error, 'invalid_request', name);
  needStorableText(parsed.data, name);
  return parsed.data as RouteParsed<N>;
}

/** The key of a verb that changes something; reads may carry one, which means nothing. */
function idempotencyKeyOf(name: RouteName, caller: Caller): string | undefined {
  const key = caller.idempotencyKey;
  if (key === undefined || routes[name].method === 'GET') return undefined;
  const field = 'idempotency-key';
  if (IDEMPOTENCY_KEY.test(key)) return key;
  throw new ArmatureError('invalid_request', `${field}: must be 8 to 200 printable characters`, {
    field,
    fix: 'Send a random id of the request, such as a UUID.',
  });
}

async function perform<N extends RouteName>(
  name: N,
  ctx: PlatformContext | PersonContext | TenantContext,
  input: RouteParsed<N>,
): Promise<RouteOutput<N>> {
  // `requireScope` has matched the actor's kind with the verb's, which the types cannot follow.
  const service = services[name] as unknown as (
    ctx: PlatformContext | PersonContext | TenantContext,
    input: RouteParsed<N>,
  ) => Promise<RouteOutput<N>>;
  const answer = await service(ctx, input);
  return routes[name].output.parse(answer) as RouteOutput<N>;
}

function idOf(actor: Extract<Actor, { tenantId: string }>): string {
  return actor.kind === 'key' ? actor.keyId : actor.memberId;
}

function describe(actor: Actor): Record<string, string> {
  switch (actor.kind) {
    case 'platform':
      return { actor: 'platform' };
    case 'person':
      return { actor: actor.person.id };
    default:
      return { actor: idOf(actor), tenant: actor.tenantId };
  }
}
