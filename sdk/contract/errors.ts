import * as z from 'zod';

/**
 * Every error code that a caller can meet, with the HTTP status it travels under and whether the
 * same call may succeed later without a change. Codes are stable: they are added, never renamed.
 */
export const errorCodes = {
  invalid_request: { status: 400, retryable: false },
  missing_key: { status: 401, retryable: false },
  invalid_key: { status: 401, retryable: false },
  expired_key: { status: 401, retryable: false },
  missing_token: { status: 401, retryable: false },
  invalid_token: { status: 401, retryable: false },
  expired_token: { status: 401, retryable: true },
  not_signed_in: { status: 401, retryable: false },
  email_not_verified: { status: 403, retryable: false },
  forbidden: { status: 403, retryable: false },
  not_found: { status: 404, retryable: false },
  conflict: { status: 409, retryable: false },
  payload_too_large: { status: 413, retryable: false },
  embodiment_mismatch: { status: 422, retryable: false },
  invalid_dataset: { status: 422, retryable: false },
  empty_dataset: { status: 422, retryable: false },
  incomplete_upload: { status: 422, retryable: true },
  checksum_mismatch: { status: 422, retryable: true },
  invalid_state: { status: 422, retryable: false },
  invalid_frame: { status: 400, retryable: false },
  missing_camera: { status: 422, retryable: false },
  invalid_observation: { status: 422, retryable: false },
  invalid_action: { status: 422, retryable: false },
  incompatible_policy: { status: 422, retryable: false },
  rate_limited: { status: 429, retryable: true },
  quota_exceeded: { status: 429, retryable: false },
  idempotency_mismatch: { status: 422, retryable: false },
  cancelled: { status: 499, retryable: false },
  internal: { status: 500, retryable: true },
  unavailable: { status: 503, retryable: true },
  timeout: { status: 504, retryable: true },
} as const satisfies Record<string, { status: number; retryable: boolean }>;

export type ErrorCode = keyof typeof errorCodes;

export const errorCodeSchema = z.enum(Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]]);

/** Problem details (RFC 9457) as every HTTP error answers them. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  code: errorCodeSchema,
  detail: z.string(),
  field: z.string().optional(),
  fix: z.string().optional(),
  /** The limit or quota that was reached. */
  limit: z.string().optional(),
  /** Seconds after which the same call may succeed. */
  retry_after_s: z.number().optional(),
  request_id: z.string(),
});
export type Problem = z.infer<typeof problemSchema>;

export interface ErrorDetails {
  /** Path of the offending field, e.g. `images.wrist` or `files[3].sha256`. */
  field?: string;
  /** What the caller can do about it, as an imperative sentence. */
  fix?: string;
  /** Name of the limit or quota that was reached. */
  limit?: string;
  /** Seconds after which the same call may succeed. */
  retryAfterS?: number;
  cause?: unknown;
  requestId?: string;
  /** HTTP status and whether the call may succeed later; the code's unless told, as by a later version. */
  status?: number;
  retryable?: boolean;
}

/** The one error type that crosses rooms and the wire: a stable code, a field and a fix. */
export class ArmatureError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly fix: string | undefined;
  readonly limit: string | undefined;
  readonly retryAfterS: number | undefined;
  readonly requestId: string | undefined;
  readonly status: number;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ArmatureError';
    this.code = code;
    this.field = details.field;
    this.fix = details.fix;
    this.limit = details.limit;
    this.retryAfterS = details.retryAfterS;
    this.requestId = details.requestId;
    this.status = details.status ?? errorCodes[code].status;
    this.retryable = details.retryable ?? errorCodes[code].retryable;
  }

  /**
   * The error as problem details; `requestId` names the request in the logs.
   * @param origin of the API, whose `/errors/…` documents the code; where it is not known `type` is relative to it
   */
  toProblem(requestId: string, origin = ''): Problem {
    return {
      type: `${origin}/errors/${this.code}`,
      title: this.code.replaceAll('_', ' '),
      status: this.status,
      code: this.code,
      detail: this.message,
      ...(this.field === undefined ? {} : { field: this.field }),
      ...(this.fix === undefined ? {} : { fix: this.fix }),
      ...(this.limit === undefined ? {} : { limit: this.limit }),
      ...(this.retryAfterS === undefined ? {} : { retry_after_s: this.retryAfterS }),
      request_id: requestId,
    };
  }

  /** A status that is not the code's is that of a later version's code, which then says what may be done. */
  static fromProblem(problem: Problem): ArmatureError {
    const { status } = problem;
    return new ArmatureError(problem.code, problem.detail, {
      ...(status === errorCodes[problem.code].status
        ? {}
        : { status, retryable: status === 429 || status >= 500 }),
      ...(problem.field === undefined ? {} : { field: problem.field }),
      ...(problem.fix === undefined ? {} : { fix: problem.fix }),
      ...(problem.limit === undefined ? {} : { limit: problem.limit }),
      ...(problem.retry_after_s === undefined ? {} : { retryAfterS: problem.retry_after_s }),
      requestId: problem.request_id,
    });
  }
}

/** Turns a zod failure into an `ArmatureError` that names the first offending field. */
export function fromZodError(
  error: z.ZodError,
  code: ErrorCode,
  subject: string,
  prefix = '',
): ArmatureError {
  const issue = error.issues[0];
  const path = issue === undefined ? '' : formatPath(issue.path);
  const field = [prefix, path].filter((part) => part !== '').join('.');
  const message = issue === undefined ? error.message : issue.message;
  return new ArmatureError(code, `${subject}: ${field === '' ? '' : `${field}: `}${message}`, {
    ...(field === '' ? {} : { field }),
    fix: `Correct ${field === '' ? subject : field} and send it again.`,
    cause: error,
  });
}

function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number'
        ? `${text}[${part}]`
        : text === ''
          ? String(part)
          : `${text}.${String(part)}`,
    '',
  );
}
