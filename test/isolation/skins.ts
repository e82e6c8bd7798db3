import { problemSchema, routes, type Problem, type RouteName } from '@armature/sdk/contract';
import { credentialHeaders, requestFor, type Credential, type TestApi } from '../support/api.ts';

export interface SkinAnswer {
  status: number;
  ok?: unknown;
  problem?: Problem;
}

/** One way of calling a verb. */
export type Skin = (
  api: TestApi,
  name: RouteName,
  key: Credential,
  input: object,
) => Promise<SkinAnswer>;

const rest: Skin = async (api, name, key, input) => {
  const answer = await fetch(...requestFor(api.url, name, key, input));
  const body: unknown = await answer.json();
  return answer.ok
    ? { status: answer.status, ok: body }
    : { status: answer.status, problem: problemSchema.parse(body) };
};

/** As tRPC's own client sends it, without a batch. */
const trpc: Skin = async (api, name, key, input) => {
  const isQuery = routes[name].method === 'GET';
  const url = new URL(`/trpc/${name}`, api.url);
  if (isQuery) url.searchParams.set('input', JSON.stringify(input));
  const answer = await fetch(url, {
    method: isQuery ? 'GET' : 'POST',
    headers: {
      'content-type': 'application/json',
      'x-request-id': 'test-request-1',
      ...credentialHeaders(key),
    },
    ...(isQuery ? {} : { body: JSON.stringify(input) }),
  });
  const body = (await answer.json()) as {
    result?: { data: unknown };
    error?: { data: { problem: unknown } };
  };
  return body.error === undefined
    ? { status: answer.status, ok: body.result?.data }
    : { status: answer.status, problem: problemSchema.parse(body.error.data.problem) };
};

export const skins: Readonly<Record<string, Skin>> = { REST: rest, tRPC: trpc };
