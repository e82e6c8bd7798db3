import { ArmatureError, type ErrorCode } from '@armature/sdk/contract';
import { z } from 'zod';

const refusal = z.object({ code: z.string().optional(), message: z.string().optional() });

/** What stands for the library's own codes where its status is not enough. */
const byCode: Readonly<Record<string, { code: ErrorCode; fix: string }>> = {
  EMAIL_NOT_VERIFIED: {
    code: 'email_not_verified',
    fix: 'Open the link that was sent to the address, or have another one sent.',
  },
  INVALID_EMAIL_OR_PASSWORD: {
    code: 'not_signed_in',
    fix: 'Check both, or ask for a new password.',
  },
  INVALID_TOKEN: { code: 'invalid_request', fix: 'Ask for a new link.' },
  TOKEN_EXPIRED: { code: 'invalid_request', fix: 'Ask for a new link.' },
  SESSION_NOT_FRESH: { code: 'forbidden', fix: 'Sign in again.' },
};

const byStatus: Readonly<Record<number, { code: ErrorCode; fix: string }>> = {
  400: { code: 'invalid_request', fix: 'Correct the request and send it again.' },
  401: { code: 'not_signed_in', fix: 'Sign in.' },
  403: { code: 'forbidden', fix: 'Send it from a page of this platform.' },
  404: { code: 'not_found', fix: 'Check method and path.' },
  409: { code: 'conflict', fix: 'Look at what is there, and try again.' },
  415: { code: 'invalid_request', fix: 'Send JSON.' },
  422: { code: 'invalid_request', fix: 'Correct the request and send it again.' },
};

/** A refusal of the library, whose body is `{code, message}`, as the house tells errors. */
export async function errorOfAnswer(answer: Response): Promise<ArmatureError> {
  const text = await answer.text();
  const parsed = refusal.safeParse(text === '' ? {} : safely(text));
  const { code = '', message = 'refused' } = parsed.success ? parsed.data : {};
  const known = byCode[code] ?? byStatus[answer.status];
  if (known === undefined) {
    return new ArmatureError('internal', 'signing in went wrong on our side', {
      fix: 'Try again; if it stays so, tell us the request id.',
      cause: new Error(`the library answered ${answer.status} ${code}`),
    });
  }
  return new ArmatureError(known.code, message, { fix: known.fix });
}

function safely(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Why a visit to the provider, or a link, came to nothing: what the library redirects with. */
export function errorOfVisit(reason: string | undefined): ArmatureError {
  const told = reason !== undefined && /^[A-Za-z_]{1,60}$/.test(reason) ? reason : 'unknown';
  return new ArmatureError('not_signed_in', `nobody was signed in: ${told.toLowerCase()}`, {
    fix: 'Begin again on the page that you came from.',
  });
}
