import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY } from './support/api.ts';
import { apiEnvironment } from './support/api-process.ts';
import { startTestPostgres, type TestPostgres } from './support/postgres.ts';

const LAMBDA = new URL('../api/lambda.ts', import.meta.url).href;

let postgres: TestPostgres;
let storeRoot: string;
let environment: Record<string, string>;

beforeAll(async () => {
  postgres = await startTestPostgres();
  const { appUrl } = await postgres.database();
  storeRoot = await mkdtemp(path.join(tmpdir(), 'armature-lambda-'));
  environment = {
    ...apiEnvironment({ databaseUrl: appUrl, storeRoot, publicUrl: 'http://127.0.0.1:1' }),
    MAIL_KIND: 'log',
  };
});
afterAll(async () => {
  await postgres.stop();
  await rm(storeRoot, { recursive: true, force: true });
});

interface Answer {
  statusCode: number;
  headers: Record<string, string>;
  body: string;
}

/** An event as a function URL or an HTTP API sends it (payload 2.0). */
const event = (method: string, rawPath: string, apiKey: string, body?: object, query = '') => ({
  version: '2.0',
  routeKey: '$default',
  rawPath,
  rawQueryString: query,
  headers: {
    host: 'api.example.com',
    authorization: `Bearer ${apiKey}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  },
  requestContext: { http: { method, path: rawPath, sourceIp: '192.0.2.1' } },
  ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  isBase64Encoded: false,
});

/** A new instance of the function, which is handed the events one after another. */
async function invoke(events: readonly object[]): Promise<Answer[]> {
  const script = `
    const { handler } = await import(${JSON.stringify(LAMBDA)});
    const answers = [];
    for (const event of JSON.parse(process.env.EVENTS)) answers.push(await handler(event, {}));
    process.stdout.write(JSON.stringify(answers), () => process.exit(0));`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', script],
    {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { ...environment, PORT: '0', DATABASE_POOL: '1', EVENTS: JSON.stringify(events) },
      maxBuffer: 1 << 24,
    },
  );
  return JSON.parse(stdout) as Answer[];
}

describe('the API as a function', () => {
  it('answers as the process does, and a new instance knows what the last one did', async () => {
    const first = await invoke([
      event('GET', '/healthz', ''),
      event('POST', '/v1/tenants', PLATFORM_KEY, { name: 'by function' }),
    ]);
    expect(first.map(({ statusCode }) => statusCode)).toEqual([200, 200]);
    const { secret } = JSON.parse(first[1]?.body ?? '') as { secret: string };
    const answers = await invoke([
      event('GET', '/v1/tenant', secret),
      event('GET', '/v1/keys', secret, undefined, 'limit=1'),
      event('POST', '/v1/keys', secret, { name: 'k', scopes: ['read'] }),
      event('GET', '/v1/datasets/ds_none', secret),
      event('GET', '/v1/finetunes/ft_none/stream', secret),
    ]);
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 404, 404]);
    expect(JSON.parse(answers[0]?.body ?? '')).toMatchObject({ name: 'by function' });
    // A pool of one connection: signing up is one transaction that waits for no second.
    const [made, unknown] = await invoke([
      event('POST', '/auth/sign-up/email', '', {
        name: 'Ann',
        email: 'ann@example.com',
        password: 'a password that is long enough',
      }),
      event('POST', '/auth/sign-in/email', '', { email: 'x@example.com', password: 'anything' }),
    ]);
    expect([made?.statusCode, unknown?.statusCode]).toEqual([200, 401]);
    expect(answers[3]?.headers['content-type']).toBe('application/problem+json');
  });
});
