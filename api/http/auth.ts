import type { Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { ArmatureError, fromZodError } from '@armature/sdk/contract';
import { ADDRESS_HEADER, addressChain } from '../auth/people/address.ts';
import { errorOfVisit } from '../auth/people/answers.ts';
import { doors, type Door } from '../auth/people/doors.ts';
import { AUTH_PATH } from '../auth/people/paths.ts';
import type { People } from '../auth/people/people.ts';
import { needStorableText } from '../storable-text.ts';
import { readJsonBody } from './body.ts';
import type { HttpEnv } from './rest.ts';

/** Largest body of a door, bytes: a name, an address and a password. */
const MAX_BODY_BYTES = 16 * 1024;
/** What the library is told of a request; the rest it could only misunderstand. */
const HEADERS = [
  'cookie',
  'content-type',
  'origin',
  'referer',
  'user-agent',
  'sec-fetch-site',
  'sec-fetch-mode',
  'sec-fetch-dest',
];

/** Network address that a request's connection comes from. */
export type ConnectionAddress = (c: Context) => string | undefined;

export interface AuthMount {
  readonly people: People;
  readonly connectionAddress: ConnectionAddress;
}

/** The doors of signing in, beneath `AUTH_PATH`. */
export function mountAuth(app: Hono<HttpEnv>, mount: AuthMount): void {
  const limit = bodyLimit({
    maxSize: MAX_BODY_BYTES,
    onError: () => {
      throw new ArmatureError('payload_too_large', `the body exceeds ${MAX_BODY_BYTES} bytes`, {
        field: 'body',
        fix: 'Send less in one request.',
      });
    },
  });
  for (const door of doors) {
    app.on(door.method, `${AUTH_PATH}${door.path}`, limit, (c) => enter(c, door, mount));
  }
  app.get(`${AUTH_PATH}/error`, (c) => {
    throw errorOfVisit(c.req.query('error'));
  });
}

async function enter(c: Context<HttpEnv>, door: Door, mount: AuthMount): Promise<Response> {
  const headers = new Headers();
  for (const name of HEADERS) {
    const value = c.req.header(name);
    if (value !== undefined) headers.set(name, value);
  }
  const { connectionAddress, people } = mount;
  const forwardedFor = c.req.header('x-forwarded-for');
  const address = addressChain(connectionAddress(c), forwardedFor, people.trustsProxies);
  if (address !== undefined) headers.set(ADDRESS_HEADER, address);
  const body = door.body === undefined ? undefined : await readBody(c, door);
  if (body !== undefined) headers.set('content-type', 'application/json');
  const url = new URL(c.req.url);
  const path = url.pathname.slice(url.pathname.indexOf(AUTH_PATH) + AUTH_PATH.length);
  const answer = await people.visit(door, { path: `${path}${url.search}`, headers, body });
  // One that can still be changed: the application adds headers of its own.
  const answered = new Response(answer.body, answer);
  answered.headers.set('cache-control', 'no-store');
  return answered;
}

async function readBody(c: Context, door: Door): Promise<Record<string, unknown> | undefined> {
  const parsed = door.body?.safeParse(await readJsonBody(c.req.raw));
  if (parsed?.success === false) {
    throw fromZodError(parsed.error, 'invalid_request', door.path.slice(1));
  }
  needStorableText(parsed?.data, door.path.slice(1));
  return parsed?.data;
}
