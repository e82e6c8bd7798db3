import { ArmatureError } from '@armature/sdk/contract';

/**
 * Refuses text that the database cannot keep as it is: with a NUL, or half of a surrogate pair.
 * @param value of a request, as JSON has it
 * @throws ArmatureError `invalid_request` naming the field.
 */
export function needStorableText(value: unknown, subject: string): void {
  const field = unstorable(value, '');
  if (field === null) return;
  throw new ArmatureError(
    'invalid_request',
    `${subject}: ${field}: holds a character that is none`,
    {
      field,
      fix: `Take NUL and halves of surrogate pairs out of ${field}.`,
    },
  );
}

/** Path of the first such text; null where there is none. */
function unstorable(value: unknown, path: string): string | null {
  if (typeof value === 'string') return isStorable(value) ? null : path;
  if (typeof value !== 'object' || value === null) return null;
  for (const [name, part] of Object.entries(value)) {
    const at = Array.isArray(value) ? `${path}[${name}]` : path === '' ? name : `${path}.${name}`;
    const found = isStorable(name) ? unstorable(part, at) : path;
    if (found !== null) return found;
  }
  return null;
}

function isStorable(text: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(text);
}
