import {
  ArmatureError,
  routes,
  type RouteInput,
  type RouteName,
  type RouteOutput,
} from '@armature/sdk/contract';
import {
  initTRPC,
  TRPCError,
  type TRPCBuiltRouter,
  type TRPCMutationProcedure,
  type TRPCQueryProcedure,
} from '@trpc/server';
import type { Call } from '../call.ts';
import type { Caller } from '../caller.ts';
import { classifyError } from '../errors.ts';
import { trpcCodeOf } from './codes.ts';

const trpcAt = (origin: string) =>
  initTRPC.context<Caller>().create({
    // The default depends on NODE_ENV and shows stacks.
    isDev: false,
    errorFormatter: ({ shape, error, ctx }) => {
      const told = fromTrpcError(error);
      const problem = told.toProblem(ctx?.requestId ?? 'unknown', origin);
      return {
        code: shape.code,
        message: told.message,
        data: {
          code: trpcCodeOf(told),
          httpStatus: told.status,
          path: shape.data.path,
          problem,
        },
      };
    },
  });
type Trpc = ReturnType<typeof trpcAt>;

type Group = RouteName extends `${infer G}.${string}` ? G : never;
type VerbOf<G extends Group> =
  Extract<RouteName, `${G}.${string}`> extends `${G}.${infer V}` ? V : never;
type NameOf<G extends Group, V extends string> = Extract<RouteName, `${G}.${V}`>;
type Procedure<N extends RouteName> = (typeof routes)[N]['method'] extends 'GET'
  ? TRPCQueryProcedure<{ input: RouteInput<N>; output: RouteOutput<N>; meta: unknown }>
  : TRPCMutationProcedure<{ input: RouteInput<N>; output: RouteOutput<N>; meta: unknown }>;
type Procedures = { [G in Group]: { [V in VerbOf<G>]: Procedure<NameOf<G, V>> } };

/** The router's type for clients: `client.datasets.create.mutate({…})`. */
export type AppRouter = TRPCBuiltRouter<Trpc['_config']['$types'], Procedures>;

/**
 * One procedure a verb of the contract: queries for GET, mutations for the others.
 * @param origin as which those outside reach the API
 */
export function createRouter(call: Call, origin: string): AppRouter {
  const t = trpcAt(origin);
  const groups = new Map<string, Record<string, unknown>>();
  for (const name of Object.keys(routes) as RouteName[]) {
    const [group = '', verb = ''] = name.split('.');
    const procedures = groups.get(group) ?? {};
    procedures[verb] = procedureOf(t, name, call);
    groups.set(group, procedures);
  }
  // Built from data, so that the types, which are made from the same data, are stated.
  return t.router(Object.fromEntries(groups) as never);
}

function procedureOf(t: Trpc, name: RouteName, call: Call) {
  const procedure = t.procedure.input((value: unknown) => value);
  const resolve = async ({ ctx, input }: { ctx: Caller; input: unknown }) => {
    try {
      return await call(name, ctx, () => Promise.resolve(input ?? {}));
    } catch (error) {
      const told = classifyError(error);
      throw new TRPCError({ code: trpcCodeOf(told), message: told.message, cause: told });
    }
  };
  return routes[name].method === 'GET' ? procedure.query(resolve) : procedure.mutation(resolve);
}

/** What tRPC itself refuses has no error of ours behind it. */
function fromTrpcError(error: TRPCError): ArmatureError {
  if (error.cause instanceof ArmatureError) return error.cause;
  switch (error.code) {
    case 'NOT_FOUND':
      return new ArmatureError('not_found', 'no such procedure', { fix: 'Check its name.' });
    case 'METHOD_NOT_SUPPORTED':
      return new ArmatureError('invalid_request', 'the procedure wants another method', {
        fix: 'Send queries by GET and mutations by POST.',
      });
    case 'PAYLOAD_TOO_LARGE':
      return new ArmatureError('payload_too_large', 'the request is too large', {
        fix: 'Send less in one request.',
      });
    case 'BAD_REQUEST':
    case 'PARSE_ERROR':
    case 'UNSUPPORTED_MEDIA_TYPE':
      return new ArmatureError('invalid_request', 'the request is not readable as tRPC', {
        fix: 'Send JSON as the tRPC client does, at most 20 calls a request.',
      });
    default:
      return classifyError(error);
  }
}
