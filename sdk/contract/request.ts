import { ArmatureError } from './errors.ts';

export interface ApiRequest {
  readonly method: string;
  /** Path with its fields filled in and the query appended. */
  readonly path: string;
  readonly body: string | undefined;
}

/**
 * Puts a verb's input where it travels: fields named in the path there, the rest in the query (GET,
 * DELETE) or the JSON body (POST).
 * @throws ArmatureError `invalid_request` for a path field that is empty.
 */
export function toRequest(method: string, template: string, input: object): ApiRequest {
  const rest = new Map<string, unknown>(
    Object.entries(input).filter(([, value]) => value !== undefined),
  );
  const path = template.replaceAll(/:(\w+)/g, (_, name: string) => {
    const value = rest.get(name);
    rest.delete(name);
    if (typeof value !== 'string' || value === '') {
      throw new ArmatureError('invalid_request', `${name} is empty`, {
        field: name,
        fix: `Give the ${name} of the resource.`,
      });
    }
    return encodeURIComponent(value);
  });
  if (method === 'POST') return { method, path, body: JSON.stringify(Object.fromEntries(rest)) };
  const query = new URLSearchParams();
  for (const [name, value] of rest) query.set(name, String(value));
  const text = query.toString();
  return { method, path: text === '' ? path : `${path}?${text}`, body: undefined };
}
