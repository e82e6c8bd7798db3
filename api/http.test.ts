import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect as connectSocket } from 'node:net';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { json } from 'node:stream/consumers';
import {
  errorCodes,
  errorCodeSchema,
  problemSchema,
  type UploadPart,
} from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestFor, startTestApi, type TestApi } from '../test/support/api.ts';
import { breakObject } from '../test/support/broken-object.ts';
import { armSpec, fileOf } from '../test/support/robots.ts';

let api: TestApi;
let key: string;
let tenant: string;
let embodiment: string;

beforeAll(async () => {
  api = await startTestApi();
  ({ id: tenant, key } = await api.tenant());
  ({ id: embodiment } = await api.must('embodiments.create', key, { spec: armSpec }));
});
afterAll(async () => api.stop());

const problemOf = async (answer: Response) => {
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  const problem = problemSchema.parse(await answer.json());
  expect(problem.status).toBe(answer.status);
  expect(problem.type).toBe(`${api.publicUrl}/errors/${problem.code}`);
  expect(answer.headers.get('x-request-id')).toBe(problem.request_id);
  return problem;
};
const cursorOf = (...after: string[]) => Buffer.from(JSON.stringify(after)).toString('base64url');
const post = (body: string, headers: Record<string, string> = {}) =>
  fetch(`${api.url}/v1/embodiments`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body,
  });

describe('problem details', () => {
  it('link a page that documents the code, for every code', async () => {
    const all = await (await fetch(`${api.url}/errors`)).text();
    for (const code of errorCodeSchema.options) {
      const answer = await fetch(`${api.url}/errors/${code}`);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toMatch(/^text\/html/);
      const page = await answer.text();
      expect(page).toContain(`<code>${code}</code> (HTTP ${errorCodes[code].status})`);
      expect(all).toContain(`<code>${code}</code>`);
    }
    await problemOf(await fetch(`${api.url}/errors/nothing`));
  });

  it('link the platform as it is known outside, whatever name a proxy asks for', async () => {
    const asked = request(`${api.url}/v1/tenant`, { headers: { host: 'inside.example:8080' } });
    const [answer] = (await once(asked.end(), 'response')) as [IncomingMessage];
    const { type } = problemSchema.parse(await json(answer));
    expect(type).toBe(`${api.publicUrl}/errors/missing_key`);
  });

  it('answer a route that is not there, and a method that is not', async () => {
    for (const [method, at] of [
      ['GET', '/nowhere'],
      ['PATCH', '/v1/datasets'],
      ['GET', '/v1/datasets/x/y/z'],
    ] as const) {
      const problem = await problemOf(await fetch(api.url + at, { method }));
      expect(problem).toMatchObject({ status: 404, code: 'not_found' });
    }
  });

  it.each([
    ['{"spec": ', 'body'],
    ['[1]', 'body'],
    ['"x"', 'body'],
    ['', 'spec'],
    ['{"spec": {}}', 'spec.name'],
    [JSON.stringify({ spec: { ...armSpec, extra: 1 } }), 'spec'],
    [JSON.stringify({ spec: { ...armSpec, state: [{ name: 'x' }] } }), 'spec.state[0].unit'],
    [
      JSON.stringify({ spec: { ...armSpec, references: { arm: 'state' } } }),
      'spec.references.hand',
    ],
    [JSON.stringify({ spec: armSpec, surplus: true }), ''],
  ])('name the field of the bad body %j', async (body, field) => {
    const problem = await problemOf(await post(body));
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request' });
    expect(problem.field ?? '').toBe(field);
    expect(problem.fix).toBeTruthy();
  });

  it('refuse a body that is no JSON by its type', async () => {
    const problem = await problemOf(await post('{}', { 'content-type': 'text/plain' }));
    expect(problem).toMatchObject({ status: 400, field: 'content-type' });
  });

  it('refuse a body that is too large, also when its length is not told', async () => {
    const large = ' '.repeat(17 * 1024 * 1024);
    const problem = await problemOf(await post(large));
    expect(problem).toMatchObject({ status: 413, code: 'payload_too_large' });
  });

  it('refuse unknown, doubled and path fields in the query', async () => {
    const get = (query: string) =>
      fetch(`${api.url}${query}`, { headers: { authorization: `Bearer ${key}` } });
    expect((await problemOf(await get('/v1/datasets?limits=3'))).code).toBe('invalid_request');
    expect((await problemOf(await get('/v1/datasets?limit=1&limit=2'))).field).toBe('limit');
    expect((await problemOf(await get('/v1/datasets?limit=0'))).field).toBe('limit');
    expect((await problemOf(await get('/v1/datasets?cursor=abc'))).field).toBe('cursor');
    expect((await problemOf(await get('/v1/datasets/ds_1?id=ds_2'))).field).toBe('id');
  });

  it.each([
    ['GET', '/v1/datasets/%00', 'id'],
    ['GET', '/v1/audit?subject=a%00', 'subject'],
    ['GET', `/v1/keys?cursor=${cursorOf('2026-01-01T00:00:00.000Z', 'x\0')}`, 'cursor'],
    ['GET', `/v1/keys?cursor=${cursorOf('0000-01-01T00:00:00.000Z', 'x')}`, 'cursor'],
    ['GET', '/v1/usage?from=0000-01-01T00:00:00Z&to=0000-02-01T00:00:00Z', 'to'],
    ['GET', '/v1/usage/lines?from=0000-01-01T00:00:00Z', 'from'],
    ['GET', '/v1/usage?from=9999-12-01T00:00:00Z&to=9999-12-31T23:59:59Z', 'to'],
    ['GET', '/v1/finetunes/ft_1/events?after=9999999999', 'after'],
    ['GET', '/v1/finetunes/ft_1/metrics?after=9999999999', 'after'],
    ['POST', '/v1/keys', 'name', { name: 'a\0', scopes: ['read'] }],
    ['POST', '/v1/keys', 'name', { name: 'a\ud800', scopes: ['read'] }],
    [
      'POST',
      '/v1/keys',
      'expires_at',
      { name: 'a', scopes: ['read'], expires_at: '9999-12-31T23:59:59Z' },
    ],
    ['POST', '/v1/embodiments', 'spec.name', { spec: { ...armSpec, name: 'arm\0' } }],
    ['POST', '/v1/datasets/ds_1/accept', 'without_episodes[0]', { without_episodes: [2 ** 31] }],
    [
      'POST',
      '/auth/sign-up/email',
      'name',
      { name: 'a\0', email: 'a@b.example', password: 'x'.repeat(12) },
    ],
  ] as const)(
    'name what of %s %s the database could not keep: %s',
    async (method, at, field, body?) => {
      const answer = await fetch(api.url + at, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          origin: api.url,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      expect(await problemOf(answer)).toMatchObject({ code: 'invalid_request', field });
    },
  );

  it('carry the caller’s request id when it is sound, and one of their own else', async () => {
    const ask = (id: string) => fetch(`${api.url}/nowhere`, { headers: { 'x-request-id': id } });
    expect((await problemOf(await ask('my-request-0001'))).request_id).toBe('my-request-0001');
    for (const bad of ['short', 'with space in it', '<script>alert(1)</script>', 'x'.repeat(65)]) {
      expect((await problemOf(await ask(bad))).request_id).toMatch(/^req_/);
    }
  });

  it('say nothing of what went wrong inside, and the log says it all', async () => {
    const { dataset } = await api.must('datasets.create', key, {
      name: 'd',
      embodiment_id: embodiment,
      files: [fileOf('a', Buffer.from('a'))],
    });
    const place = `tenants/${tenant}/datasets/${dataset.id}/files/a`;
    const inside = await breakObject(api.storeRoot, place);
    const [url, request] = requestFor(api.url, 'datasets.complete', key, { id: dataset.id });
    const problem = await problemOf(await fetch(url, request));
    expect(problem).toMatchObject({ status: 500, code: 'internal', request_id: 'test-request-1' });
    expect(JSON.stringify(problem)).not.toMatch(/ELOOP|objects/);
    const lines = (await api.log()).filter((line) => line.includes('ELOOP'));
    expect(lines.join('\n')).toContain(inside);
  });

  it('challenge for a bearer key', async () => {
    const answer = await fetch(`${api.url}/v1/tenant`);
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    expect(await problemOf(answer)).toMatchObject({ code: 'missing_key', field: 'authorization' });
  });
});

describe('keys', () => {
  it('expire', async () => {
    const expiring = await api.keyWith(key, ['read'], new Date(Date.now() + 60_000).toISOString());
    expect((await api.call('tenants.current', expiring.key, {})).status).toBe(200);
    api.clock.skewMs = 61_000;
    const late = await api.call('tenants.current', expiring.key, {});
    api.clock.skewMs = 0;
    expect(late).toMatchObject({ status: 401, problem: { code: 'expired_key' } });
    const past = await api.call('keys.create', key, {
      name: 'k',
      scopes: ['read'],
      expires_at: '2020-01-01T00:00:00Z',
    });
    expect(past).toMatchObject({ status: 400, problem: { field: 'expires_at' } });
  });

  it('end with their revocation, at once where they were revoked', async () => {
    const doomed = await api.keyWith(key, ['read']);
    expect((await api.call('tenants.current', doomed.key, {})).status).toBe(200);
    const revoked = await api.must('keys.revoke', key, { id: doomed.id });
    expect(revoked.revoked_at).not.toBeNull();
    api.othersLearn();
    expect(await api.call('tenants.current', doomed.key, {})).toMatchObject({
      status: 401,
      problem: { code: 'invalid_key' },
    });
    expect(await api.must('keys.revoke', key, { id: doomed.id })).toEqual(revoked);
  });

  it('never appear again, neither in a list nor in the log', async () => {
    const made = await api.keyWith(key, ['read']);
    await api.call('tenants.current', made.key, {});
    const list = await api.must('keys.list', key, { limit: 200 });
    const listed = list.items.find(({ id }) => id === made.id);
    expect(listed?.start).toBe(made.key.slice(0, 13));
    expect(listed?.last_used_at).not.toBeNull();
    const everything = JSON.stringify(list) + (await api.log()).join('');
    expect(everything).not.toContain(made.key);
    expect(everything).not.toContain(made.key.slice(13, 40));
  });
});

describe('uploads', () => {
  const body = Buffer.from('the bytes of a recording');
  const put = (part: UploadPart, bytes: Uint8Array, headers = part.headers) =>
    fetch(part.url, { method: 'PUT', headers, body: bytes });
  const planned = async (): Promise<UploadPart> => {
    const { parts } = await api.must('datasets.create', key, {
      name: 'd',
      embodiment_id: embodiment,
      files: [fileOf('data/one.bin', body)],
    });
    const [part] = parts;
    if (part === undefined) throw new Error('the plan has no part');
    return part;
  };
  const nothingLeft = async (part: UploadPart) => {
    const at = new URL(part.url).pathname.replace('/store/', '');
    expect(await api.store.head(at)).toBeNull();
    await expect.poll(() => readdir(path.join(api.storeRoot, 'tmp'))).toEqual([]);
  };

  it('take the planned bytes', async () => {
    const part = await planned();
    expect((await put(part, body)).status).toBe(200);
  });

  it('refuse other bytes, sizes, types and signatures, and keep nothing of them', async () => {
    const part = await planned();
    const other = Buffer.from(body);
    other[3] = 0;
    const longer = Buffer.concat([body, Buffer.from('!')]);
    const html = { ...part.headers, 'content-type': 'text/html' };
    expect(await problemOf(await put(part, other))).toMatchObject({
      code: 'checksum_mismatch',
      status: 422,
    });
    expect((await problemOf(await put(part, longer))).field).toBe('content-length');
    expect((await problemOf(await put(part, body.subarray(1)))).field).toBe('content-length');
    expect((await problemOf(await put(part, body, html))).field).toBe('content-type');
    const elsewhere = part.url.replace('one.bin', 'two.bin');
    expect((await problemOf(await put({ ...part, url: elsewhere }, body))).code).toBe('forbidden');
    const bare = part.url.replace(/\?.*/, '');
    expect((await problemOf(await put({ ...part, url: bare }, body))).code).toBe('forbidden');
    const up = part.url.replace('/files/', '/files/%2e%2e/');
    expect((await problemOf(await put({ ...part, url: up }, body))).status).toBe(403);
    await nothingLeft(part);
  });

  it('refuse what comes after their time', async () => {
    const part = await planned();
    api.clock.skewMs = 7 * 3600 * 1000;
    const answer = await put(part, body);
    api.clock.skewMs = 0;
    expect(await problemOf(answer)).toMatchObject({ code: 'expired_token', field: 'expires' });
    await nothingLeft(part);
  });

  it('drop a body that is cut off', async () => {
    const part = await planned();
    const url = new URL(part.url);
    const before = (await api.log()).length;
    await new Promise<void>((resolve, reject) => {
      const socket = connectSocket(Number(url.port), url.hostname, () => {
        socket.write(
          `PUT ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\ncontent-type: application/octet-stream\r\ncontent-length: ${body.length}\r\n\r\n`,
        );
        socket.write(body.subarray(0, 5));
        setTimeout(() => socket.destroy(), 50);
      });
      socket.on('close', () => resolve());
      socket.on('error', reject);
    });
    await nothingLeft(part);
    const since = (await api.log()).slice(before);
    expect(since.filter((line) => line.includes('"level":50'))).toEqual([]);
  });
});

describe('health and keys of the tokens', () => {
  it('answer', async () => {
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${api.url}/readyz`)).status).toBe(200);
    const jwks = await fetch(`${api.url}/.well-known/jwks.json`);
    expect(jwks.headers.get('cache-control')).toContain('max-age');
    const { keys } = (await jwks.json()) as { keys: Record<string, string>[] };
    expect(keys).toHaveLength(1);
    expect(keys[0]).toMatchObject({ kty: 'OKP', crv: 'Ed25519', kid: 'test-1', alg: 'EdDSA' });
    expect(keys[0]).not.toHaveProperty('d');
  });
});
