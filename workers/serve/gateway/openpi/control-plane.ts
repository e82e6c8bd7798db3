import { setTimeout as sleep } from 'node:timers/promises';
import {
  ArmatureError,
  problemSchema,
  readerOf,
  routes,
  toRequest,
  type RouteInput,
  type RouteName,
  type RouteOutput,
} from '@armature/sdk/contract';

const ANSWER_WITHIN_MS = 10_000;
/** Waits before a question is asked again, ms; the last is longer than a request is taken to run. */
const AGAIN_MS = [1_000, 5_000, 15_000, 65_000] as const;
/** Of connections that were never made. */
const NEVER_ASKED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH']);

export interface ControlPlaneOptions {
  /** Without it nothing can be asked. */
  readonly apiUrl: string | undefined;
  /** How long an answer may take, ms; 10,000 unless told. */
  readonly answerWithinMs?: number;
  /** Waits before a question is asked again, ms; four within a minute and a half unless told. */
  readonly againMs?: readonly number[];
}

/** The control plane's REST interface, for who holds the key of a tenant. */
export class ControlPlane {
  private readonly options: ControlPlaneOptions;

  constructor(options: ControlPlaneOptions) {
    this.options = options;
  }

  /**
   * @param once names a mutation that is carried out once, however often it is asked for.
   * @throws ArmatureError as the control plane refuses; `unavailable` without an answer,
   *   `invalid_token` where there is no control plane.
   */
  async call<N extends RouteName>(
    name: N,
    key: string,
    input: RouteInput<N>,
    once?: string,
  ): Promise<RouteOutput<N>> {
    const { apiUrl, answerWithinMs = ANSWER_WITHIN_MS } = this.options;
    if (apiUrl === undefined) {
      throw new ArmatureError('invalid_token', 'this worker takes session tokens only', {
        field: 'Authorization',
        fix: 'Use the token of sessions.create as the key.',
      });
    }
    const { method, path, output } = routes[name];
    const request = toRequest(method, path, input);
    const answer = await fetch(new URL(request.path, apiUrl), {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        ...(once === undefined ? {} : { 'idempotency-key': once }),
      },
      ...(request.body === undefined ? {} : { body: request.body }),
      signal: AbortSignal.timeout(answerWithinMs),
    }).catch((cause: unknown) => {
      throw unreachable(cause);
    });
    const body: unknown = await answer.json().catch((cause: unknown) => {
      throw unreachable(cause);
    });
    if (answer.ok) return readerOf(output).parse(body) as RouteOutput<N>;
    const problem = readerOf(problemSchema).safeParse(body);
    throw problem.success ? ArmatureError.fromProblem(problem.data) : unreachable(body);
  }

  /**
   * Asks until it is known what came of it, for a minute and a half.
   * @throws ArmatureError as the control plane refuses, or the last attempt failed.
   */
  async insist<T>(ask: () => Promise<T>): Promise<T> {
    for (const waitMs of this.options.againMs ?? AGAIN_MS) {
      try {
        return await ask();
      } catch (error) {
        if (!mayPass(error)) throw error;
      }
      await sleep(waitMs, undefined, { ref: false });
    }
    return ask();
  }
}

/** Whether a mutation that failed so may have been carried out, or may be yet. */
export function mayHaveHappened(error: unknown): boolean {
  return error instanceof ArmatureError && error.status >= 500 && !wasNeverAsked(error);
}

/** Whether the same question may be answered later; one with a key may be under way still. */
function mayPass(error: unknown): boolean {
  if (!(error instanceof ArmatureError)) return false;
  const isUnderWay = error.field === 'idempotency-key' && error.retryAfterS !== undefined;
  return error.retryable || isUnderWay;
}

/** Whether the control plane was not there to be asked. */
function wasNeverAsked({ cause: failure }: ArmatureError): boolean {
  const cause = failure instanceof Error ? failure.cause : undefined;
  return cause instanceof Error && 'code' in cause && NEVER_ASKED.has(String(cause.code));
}

function unreachable(cause: unknown): ArmatureError {
  return new ArmatureError('unavailable', 'the control plane cannot be reached', {
    fix: 'Connect again in a moment.',
    cause,
  });
}
