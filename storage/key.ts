import { ArmatureError } from '@armature/sdk/contract';

const MAX_KEY_LENGTH = 900;
const SEGMENT = /^[A-Za-z0-9._-]+$/;
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * Refuses everything that is not a plain key: empty, `.` and `..` segments, absolute paths,
 * backslashes, escapes and control characters.
 * @throws ArmatureError `invalid_request` with field `key`.
 */
export function checkKey(key: string): void {
  const sound =
    key.length <= MAX_KEY_LENGTH &&
    key.split('/').every((segment) => SEGMENT.test(segment) && segment !== '.' && segment !== '..');
  if (!sound) throw invalid('key', `${JSON.stringify(key)} is not an object key`);
}

/** As `checkKey`, for a prefix: it may be empty, end in `/` or in the middle of a segment. */
export function checkPrefix(prefix: string): void {
  if (prefix === '') return;
  const whole = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
  checkKey(whole);
}

/** @throws ArmatureError `invalid_request` for anything but 64 lower-case hexadecimal digits. */
export function checkSha256(sha256: string): void {
  if (!SHA256.test(sha256)) throw invalid('sha256', 'must be 64 lower-case hexadecimal digits');
}

/** @throws ArmatureError `invalid_request` unless 0 <= start < end, both whole numbers. */
export function checkRange(range: { start: number; end: number }): void {
  const sound =
    Number.isSafeInteger(range.start) &&
    Number.isSafeInteger(range.end) &&
    range.start >= 0 &&
    range.start < range.end;
  if (!sound) throw invalid('range', `[${range.start}, ${range.end}) is not a range of bytes`);
}

/** Most parts of a multipart upload, as S3 has it. */
const MAX_PARTS = 10_000;

/** @throws ArmatureError `invalid_request` unless `number` is one of a part, 1 to 10,000. */
export function checkPartNumber(number: number): void {
  if (Number.isSafeInteger(number) && number >= 1 && number <= MAX_PARTS) return;
  throw invalid('number', `${number} is no number of a part`);
}

/** @throws ArmatureError `invalid_request` unless there are parts and their numbers rise. */
export function checkPartOrder(parts: readonly { number: number }[]): void {
  let before = 0;
  for (const { number } of parts) {
    checkPartNumber(number);
    if (number <= before) throw invalid('parts', `part ${number} comes after part ${before}`);
    before = number;
  }
  if (parts.length === 0) throw invalid('parts', 'there is none');
}

export function noMultipart(key: string, uploadId: string): ArmatureError {
  return new ArmatureError('not_found', `no open multipart upload ${uploadId} of ${key}`, {
    field: 'uploadId',
    fix: 'Ask for a new plan and use its URLs.',
  });
}

/** The parts are not, or no longer, what they were listed as. */
export function otherParts(key: string, cause?: unknown): ArmatureError {
  return new ArmatureError(
    'invalid_request',
    `the parts of ${key} are not those that were listed`,
    {
      field: 'parts',
      fix: 'List the parts again.',
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

export function notFound(key: string): ArmatureError {
  return new ArmatureError('not_found', `no object ${key}`);
}

function invalid(field: string, message: string): ArmatureError {
  return new ArmatureError('invalid_request', `${field}: ${message}`, {
    field,
    fix: `Correct ${field}.`,
  });
}
