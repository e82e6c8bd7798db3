import { problemSchema, routes, type Problem, type RouteName } from '@armature/sdk/contract';
import { z } from 'zod';
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
  headers?: Readonly<Record<string, string>>,
) => Promise<SkinAnswer>;

const rest: Skin = async (api, name, key, input, headers = {}) => {
  const [url, request] = requestFor(api.url, name, key, input);
  const sent = { ...(request.headers as Record<string, string>), ...headers };
  const answer = await fetch(url, { ...request, headers: sent });
  const body: unknown = await answer.json();
  return answer.ok
    ? { status: answer.status, ok: body }
    : { status: answer.status, problem: problemSchema.parse(body) };
};

/** As tRPC's own client sends it, without a batch. */
const trpc: Skin = async (api, name, key, input, headers = {}) => {
  const isQuery = routes[name].method === 'GET';
  const url = new URL(`/trpc/${name}`, api.url);
  if (isQuery) url.searchParams.set('input', JSON.stringify(input));
  const answer = await fetch(url, {
    method: isQuery ? 'GET' : 'POST',
    headers: {
      'content-type': 'application/json',
      'x-request-id': 'test-request-1',
      ...credentialHeaders(key),
      ...headers,
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

/** The history of a fine-tune as server-sent events: what the stream begins with. */
const stream: Skin = async (api, _name, key, input) => {
  const { id } = z.object({ id: z.string().default('nonsense') }).parse(input);
  const path = `/v1/finetunes/${encodeURIComponent(id)}/stream`;
  const answer = await fetch(new URL(path, api.url), {
    headers: { 'x-request-id': 'test-request-1', ...credentialHeaders(key) },
  });
  const { status } = answer;
  if (!answer.ok) return { status, problem: problemSchema.parse(await answer.json()) };
  const reader = answer.body?.getReader();
  const { value } = (await reader?.read()) ?? {};
  await reader?.cancel();
  return { status, ok: Buffer.from(value ?? []).toString() };
};

export interface SkinOf {
  readonly call: Skin;
  /** What is served in it. */
  readonly verbs: readonly RouteName[];
}

const all = Object.keys(routes) as RouteName[];
export const skins: Readonly<Record<string, SkinOf>> = {
  REST: { call: rest, verbs: all },
  tRPC: { call: trpc, verbs: all },
  'server-sent events': { call: stream, verbs: ['finetunes.events'] },
};
