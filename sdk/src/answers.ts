import { ArmatureError, problemSchema, readerOf, type ErrorCode } from '../contract/index.ts';

/** The code that stands for a status when the answer carries no problem details of ours. */
function codeOf(status: number): ErrorCode {
  const codes: Record<number, ErrorCode> = {
    401: 'invalid_key',
    403: 'forbidden',
    404: 'not_found',
    408: 'timeout',
    409: 'conflict',
    413: 'payload_too_large',
    429: 'rate_limited',
    503: 'unavailable',
    504: 'timeout',
  };
  return codes[status] ?? (status >= 500 ? 'internal' : 'invalid_request');
}

/** The error that a refused request stands for: problem details where the body has them. */
export function errorFromAnswer(status: number, body: string): ArmatureError {
  const problem = readerOf(problemSchema).safeParse(parseJson(body));
  if (problem.success) return ArmatureError.fromProblem(problem.data);
  const text = body.trim().slice(0, 200);
  return new ArmatureError(
    codeOf(status),
    `the server answered ${status}${text === '' ? '' : `: ${text}`}`,
    { fix: 'Check that the address is that of an Armature API.' },
  );
}

/** The value of a JSON text, undefined where it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
