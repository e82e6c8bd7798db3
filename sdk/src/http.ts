import {
  ArmatureError,
  fromZodError,
  routes,
  type RouteInput,
  type RouteName,
  type RouteOutput,
  toRequest,
} from '../contract/index.ts';
import { errorFromAnswer, parseJson } from './answers.ts';
import { backoffMs, cancelled, sleep, throwIfCancelled, type Backoff } from './backoff.ts';

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Longest wait for one attempt's answer, ms. */
  readonly timeoutMs?: number;
}

export interface RetryOptions extends Backoff {
  /** Attempts in all, the first one included. */
  readonly attempts: number;
}

export interface HttpOptions {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly fetch: typeof fetch;
  readonly timeoutMs: number;
  readonly retry: RetryOptions;
}

/** POST verbs that end in the same state when they are performed twice. */
const REPEATABLE: ReadonlySet<RouteName> = new Set<RouteName>([
  'datasets.complete',
  'finetunes.cancel',
  'policies.deploy',
  'sessions.resume',
]);

/** What one attempt came to: whether the server may have performed it decides about a repeat. */
interface Failure {
  readonly error: ArmatureError;
  readonly performed: 'no' | 'maybe';
  readonly retryAfterMs: number | undefined;
}

/**
 * One verb of the control plane. Input and output are checked against the contract. An attempt that
 * failed is repeated when its error is retryable and repeating it cannot perform it twice: a verb
 * that is idempotent, or an answer that says it was not performed (429, 503, nothing listens).
 * @throws ArmatureError as the server answered it; `invalid_request` for input that the contract
 *   refuses, `unavailable` when the server cannot be reached, `timeout`, `cancelled`.
 */
export async function call<N extends RouteName>(
  http: HttpOptions,
  name: N,
  input: RouteInput<N>,
  options: CallOptions = {},
): Promise<RouteOutput<N>> {
  const route = routes[name];
  const checked = route.input.safeParse(input);
  if (!checked.success) throw fromZodError(checked.error, 'invalid_request', name);
  const request = toRequest(route.method, route.path, input);
  const repeatable = route.method !== 'POST' || REPEATABLE.has(name);

  for (let attempt = 0; ; attempt++) {
    throwIfCancelled(options.signal);
    const result = await attemptOnce(http, request, options);
    if (!('error' in result)) return checkOutput(name, result.body);
    const { error, performed, retryAfterMs } = result;
    // Below 429 the request itself, its token or its upload has to change first.
    const passing = error.retryable && error.status >= 429;
    const mayRepeat = passing && (repeatable || performed === 'no');
    if (!mayRepeat || attempt + 1 >= http.retry.attempts) throw error;
    const wait = backoffMs(attempt, http.retry, Math.random());
    await sleep(Math.max(wait, Math.min(retryAfterMs ?? 0, 30_000)), options.signal);
  }
}

async function attemptOnce(
  http: HttpOptions,
  request: ReturnType<typeof toRequest>,
  options: CallOptions,
): Promise<{ body: string } | Failure> {
  const timeoutMs = options.timeoutMs ?? http.timeoutMs;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal =
    options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  try {
    const response = await http.fetch(http.apiUrl + request.path, {
      method: request.method,
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${http.apiKey}`,
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: request.body }),
      redirect: 'error',
      signal,
    });
    const body = await response.text();
    if (response.ok) return { body };
    return {
      error: errorFromAnswer(response.status, body),
      performed: response.status === 429 || response.status === 503 ? 'no' : 'maybe',
      retryAfterMs: retryAfter(response.headers.get('retry-after')),
    };
  } catch (cause) {
    if (options.signal?.aborted === true) throw cancelled(options.signal);
    return { ...networkFailure(cause, timeout, timeoutMs, http.apiUrl), retryAfterMs: undefined };
  }
}

function networkFailure(
  cause: unknown,
  timeout: AbortSignal,
  timeoutMs: number,
  apiUrl: string,
): Pick<Failure, 'error' | 'performed'> {
  if (timeout.aborted) {
    return {
      error: new ArmatureError('timeout', `${apiUrl} did not answer within ${timeoutMs} ms`, {
        fix: 'Try again, or give the call a longer timeoutMs.',
        cause,
      }),
      performed: 'maybe',
    };
  }
  const code = systemCode(cause);
  return {
    error: new ArmatureError(
      'unavailable',
      `${apiUrl} cannot be reached${code === undefined ? '' : ` (${code})`}`,
      {
        field: 'apiUrl',
        fix: 'Check that the platform runs and that apiUrl is its address.',
        cause,
      },
    ),
    performed: code === 'ECONNREFUSED' || code === 'ENOTFOUND' ? 'no' : 'maybe',
  };
}

/** The system's code beneath a failed fetch, e.g. `ECONNREFUSED`. */
export function systemCode(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string') return at.code;
    if (at instanceof AggregateError && at.errors.length > 0) return systemCode(at.errors[0]);
  }
  return undefined;
}

function retryAfter(header: string | null): number | undefined {
  const seconds = Number(header ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

function checkOutput<N extends RouteName>(name: N, body: string): RouteOutput<N> {
  const parsed = routes[name].output.safeParse(parseJson(body));
  // The table pairs each name with its own schema, which an indexed access widens to their union.
  if (parsed.success) return parsed.data as RouteOutput<N>;
  throw fromZodError(parsed.error, 'internal', `answer of ${name} does not fit the contract`);
}
