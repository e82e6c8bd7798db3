import {
  ArmatureError,
  fromZodError,
  readerOf,
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
  /**
   * Id of a mutation, 8 to 200 printable characters without spaces: a repeat that carries it gets the
   * first one's answer, also from another process and within a day. A random one unless told.
   */
  readonly idempotencyKey?: string;
}

export interface RetryOptions extends Backoff {
  /** Attempts in all, the first one included; those that the server asked to come again do not count. */
  readonly attempts: number;
  /** Longest time in all that a call waits between its attempts, ms. */
  readonly patienceMs: number;
}

export interface HttpOptions {
  readonly apiUrl: string;
  /** What shows who calls: headers, and whether a browser's cookies go along. */
  readonly credential: {
    readonly headers: Readonly<Record<string, string>>;
    readonly cookies: 'omit' | 'include';
  };
  readonly fetch: typeof fetch;
  readonly timeoutMs: number;
  readonly retry: RetryOptions;
}

/** What one attempt came to that did not succeed. */
interface Failure {
  readonly error: ArmatureError;
  /** When the server said to come again. */
  readonly retryAfterMs: number | undefined;
}

interface Attempt {
  readonly request: ReturnType<typeof toRequest>;
  readonly idempotencyKey: string | undefined;
}

/**
 * One verb of the control plane. Input and output are checked against the contract. An attempt that
 * failed is repeated when its error may pass: every mutation carries an id that is the same over its
 * attempts, by which the server performs it once. Waits are what the server said, else doubled and
 * drawn at random.
 * @throws ArmatureError as the server answered it last; `invalid_request` for input that the contract
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
  const isRead = route.method === 'GET';
  const idempotencyKey = isRead
    ? undefined
    : (options.idempotencyKey ?? globalThis.crypto.randomUUID());
  const { retry } = http;
  let patienceMs = retry.patienceMs;
  let counted = 0;

  for (let attempt = 0; ; attempt++) {
    throwIfCancelled(options.signal);
    const result = await attemptOnce(http, { request, idempotencyKey }, options);
    if (!('error' in result)) return checkOutput(name, result.body);
    const { error, retryAfterMs } = result;
    if (!isAskedToComeAgain(error, retryAfterMs)) counted += 1;
    const waitMs = Math.max(backoffMs(attempt, retry, Math.random()), retryAfterMs ?? 0);
    if (!mayPass(error) || counted >= retry.attempts || waitMs > patienceMs) throw error;
    patienceMs -= waitMs;
    await sleep(waitMs, options.signal);
  }
}

/** Whether the same request may succeed later. */
function mayPass(error: ArmatureError): boolean {
  // Below 429 the request itself, its token or its upload has to change first.
  return isTwin(error) || (error.retryable && error.status >= 429);
}

/** An attempt whose answer was lost is still being carried out; its answer is kept for this one. */
function isTwin({ code, field, retryAfterS }: ArmatureError): boolean {
  return code === 'conflict' && field === 'idempotency-key' && retryAfterS !== undefined;
}

/** The server is well and says when it is this caller's turn: patience bounds that, not attempts. */
function isAskedToComeAgain(error: ArmatureError, retryAfterMs: number | undefined): boolean {
  return retryAfterMs !== undefined && (error.code === 'rate_limited' || isTwin(error));
}

async function attemptOnce(
  http: HttpOptions,
  { request, idempotencyKey }: Attempt,
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
        ...http.credential.headers,
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      },
      ...(request.body === undefined ? {} : { body: request.body }),
      redirect: 'error',
      credentials: http.credential.cookies,
      signal,
    });
    const body = await response.text();
    if (response.ok) return { body };
    const error = errorFromAnswer(response.status, body);
    return { error, retryAfterMs: retryAfter(error, response.headers.get('retry-after')) };
  } catch (cause) {
    if (options.signal?.aborted === true) throw cancelled(options.signal);
    const error = networkFailure(cause, timeout, timeoutMs, http.apiUrl);
    return { error, retryAfterMs: undefined };
  }
}

function networkFailure(
  cause: unknown,
  timeout: AbortSignal,
  timeoutMs: number,
  apiUrl: string,
): ArmatureError {
  if (timeout.aborted) {
    return new ArmatureError('timeout', `${apiUrl} did not answer within ${timeoutMs} ms`, {
      fix: 'Try again, or give the call a longer timeoutMs.',
      cause,
    });
  }
  const code = systemCode(cause);
  return new ArmatureError(
    'unavailable',
    `${apiUrl} cannot be reached${code === undefined ? '' : ` (${code})`}`,
    {
      field: 'apiUrl',
      fix: 'Check that the platform runs and that apiUrl is its address.',
      cause,
    },
  );
}

/** The system's code beneath a failed fetch, e.g. `ECONNREFUSED`. */
export function systemCode(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string') return at.code;
    if (at instanceof AggregateError && at.errors.length > 0) return systemCode(at.errors[0]);
  }
  return undefined;
}

/** The problem's own seconds, else the header's, which are seconds or a date (RFC 9110, 10.2.3); ms. */
function retryAfter(error: ArmatureError, header: string | null): number | undefined {
  if (error.retryAfterS !== undefined) return error.retryAfterS * 1000;
  if (header === null) return undefined;
  const seconds = Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1000;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

function checkOutput<N extends RouteName>(name: N, body: string): RouteOutput<N> {
  const parsed = readerOf(routes[name].output).safeParse(parseJson(body));
  // The table pairs each name with its own schema, which an indexed access widens to their union.
  if (parsed.success) return parsed.data as RouteOutput<N>;
  throw fromZodError(parsed.error, 'internal', `answer of ${name} does not fit the contract`);
}
