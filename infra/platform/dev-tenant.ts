import { ArmatureError, problemSchema, routes } from '@armature/sdk/contract';

const NAME = 'development';

/**
 * Makes the development tenant and returns its key's secret.
 * @throws ArmatureError with the API's own words.
 */
export async function createDevTenant(apiUrl: string, platformKey: string): Promise<string> {
  const { method, path, output } = routes['tenants.create'];
  const response = await fetch(new URL(path, apiUrl), {
    method,
    headers: { authorization: `Bearer ${platformKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: NAME }),
  });
  const body: unknown = await response.json();
  if (!response.ok) throw ArmatureError.fromProblem(problemSchema.parse(body));
  return output.parse(body).secret;
}
