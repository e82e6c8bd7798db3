import { ArmatureError } from '@armature/sdk/contract';

/** Largest JSON body in bytes: a plan of 20,000 files fits. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** A body that is longer than this is cut off. */
const MAX_DROPPED_BYTES = 4 * MAX_BODY_BYTES;

/**
 * A JSON body, or `{}` for none.
 * @throws ArmatureError `payload_too_large`, or `invalid_request` for what is not a JSON object.
 */
export async function readJsonBody(request: Request): Promise<Record<string, unknown>> {
  const text = await readText(request);
  if (text === '') return {};
  const type = request.headers.get('content-type') ?? '';
  if (!/^application\/json\b/i.test(type)) {
    throw bad('content-type', 'the body must be application/json');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw bad('body', 'the body is no JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad('body', 'the body is no JSON object');
  }
  return { ...value };
}

async function readText(request: Request): Promise<string> {
  if (request.body === null) return '';
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of request.body as AsyncIterable<Uint8Array>) {
    size += piece.length;
    // The rest is read and dropped, so that the answer meets a caller that has stopped sending.
    if (size <= MAX_BODY_BYTES) pieces.push(piece);
    else if (size > MAX_DROPPED_BYTES) break;
  }
  if (size > MAX_BODY_BYTES) {
    throw new ArmatureError('payload_too_large', `the body exceeds ${MAX_BODY_BYTES} bytes`, {
      field: 'body',
      fix: 'Send less in one request.',
    });
  }
  return Buffer.concat(pieces).toString('utf8');
}

function bad(field: string, message: string, cause?: unknown): ArmatureError {
  return new ArmatureError('invalid_request', message, {
    field,
    fix: 'Send one JSON object with content-type application/json.',
    cause,
  });
}
