import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  problemSchema,
  routes,
  type RouteInput,
  type RouteName,
  type RouteOutput,
} from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLATFORM_KEY, requestFor } from './support/api.ts';
import { apiEnvironment, freePort, startApiProcess } from './support/api-process.ts';
import type { NodeProcess } from './support/node-process.ts';
import { signUp } from './support/people.ts';
import { startTestPostgres, type TestPostgres } from './support/postgres.ts';
import { armSpec, fileOf } from './support/robots.ts';
import { startRoundRobin, type RoundRobin } from './support/round-robin.ts';
import { startSmtpReceiver, type SmtpReceiver } from './support/smtp.ts';

let postgres: TestPostgres;
let storeRoot: string;
let balancer: RoundRobin;
let smtp: SmtpReceiver;
let environment: Record<string, string>;
let ports: [number, number];
let processes: NodeProcess[];
let key: string;

beforeAll(async () => {
  postgres = await startTestPostgres();
  const { appUrl } = await postgres.database();
  storeRoot = await mkdtemp(path.join(tmpdir(), 'armature-two-'));
  ports = [await freePort(), await freePort()];
  balancer = await startRoundRobin(ports);
  smtp = await startSmtpReceiver();
  environment = {
    ...apiEnvironment({ databaseUrl: appUrl, storeRoot, publicUrl: balancer.url }),
    MAIL_KIND: 'smtp',
    SMTP_URL: smtp.url,
    MAIL_FROM: 'no-reply@example.com',
    // Of a process that is killed, so that a repetition carries out soon what it had begun.
    IDEMPOTENCY_CLAIM_S: '3',
  };
  processes = await Promise.all(ports.map((port) => startApiProcess(environment, port)));
  ({ secret: key } = await must('tenants.create', { name: 'shared' }, { apiKey: PLATFORM_KEY }));
});
afterAll(async () => {
  await Promise.all(processes.map((one) => one.stop()));
  await balancer.close();
  await smtp.stop();
  await postgres.stop();
  await rm(storeRoot, { recursive: true, force: true });
});

async function send<N extends RouteName>(
  name: N,
  input: RouteInput<N>,
  options: { apiKey?: string; idempotencyKey?: string; port?: number } = {},
) {
  const { apiKey = key, idempotencyKey, port } = options;
  const base = port === undefined ? balancer.url : `http://127.0.0.1:${port}`;
  const [url, request] = requestFor(base, name, apiKey, input);
  const headers = new Headers(request.headers);
  if (idempotencyKey !== undefined) headers.set('idempotency-key', idempotencyKey);
  const answer = await fetch(url, { ...request, headers });
  const text = await answer.text();
  if (text === '') throw new Error(`${name} answered ${answer.status} without a word`);
  return { status: answer.status, body: JSON.parse(text) as unknown };
}
async function must<N extends RouteName>(
  name: N,
  input: RouteInput<N>,
  options: Parameters<typeof send>[2] = {},
): Promise<RouteOutput<N>> {
  const { status, body } = await send(name, input, options);
  if (status !== 200) throw new Error(`${name} answered ${status}: ${JSON.stringify(body)}`);
  return routes[name].output.parse(body) as RouteOutput<N>;
}

describe('two API processes behind a round robin', () => {
  it('are one: what is written through one is read through the other', async () => {
    const { id } = await must('embodiments.create', { spec: armSpec });
    const bytes = Buffer.from('the bytes');
    const set = { name: 'd', embodiment_id: id, files: [fileOf('a.bin', bytes)] };
    const { dataset, parts } = await must('datasets.create', set);
    const [part] = parts;
    const put = { method: 'PUT', headers: part?.headers ?? {}, body: bytes };
    expect((await fetch(part?.url ?? '', put)).status).toBe(200);
    expect(await must('datasets.complete', { id: dataset.id })).toMatchObject({
      status: 'validating',
    });
    for (let i = 0; i < 6; i += 1) await must('embodiments.create', { spec: armSpec });
    const seen = new Set<string>();
    let cursor: string | undefined;
    do {
      const page = await must('embodiments.list', { limit: 2, ...(cursor && { cursor }) });
      for (const item of page.items) seen.add(item.id);
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
    expect(seen.size).toBe(7);
    for (const count of balancer.answered.values()) expect(count).toBeGreaterThan(4);
  });

  it('give the same answer to the same idempotency key, and end a key in both', async () => {
    const input = { name: 'k', scopes: ['read' as const] };
    const [one, other] = ports;
    const first = await must('keys.create', input, { idempotencyKey: 'one-of-two-1', port: one });
    const again = await must('keys.create', input, { idempotencyKey: 'one-of-two-1', port: other });
    expect(again).toEqual(first);
    const ask = (port: number) =>
      send('tenants.current', {}, { apiKey: first.secret, port }).then(({ status }) => status);
    expect([await ask(one), await ask(other)]).toEqual([200, 200]);
    await must('keys.revoke', { id: first.key.id }, { port: one });
    expect(await ask(one)).toBe(401);
    // The other one believes what it looked up for five seconds.
    await expect.poll(() => ask(other), { timeout: 60_000, interval: 500 }).toBe(401);
  });

  it('share who is signed in, and who is not any more', async () => {
    const browser = await signUp(balancer.url, smtp, 'ann@example.com');
    const ask = async (port: number) =>
      (await browser.send('GET', `http://127.0.0.1:${port}/v1/account`)).status;
    const cookies = browser.cookies.split('=', 2);
    expect(await Promise.all(ports.map(ask))).toEqual([200, 200]);
    const out = await browser.send('POST', `http://127.0.0.1:${ports[0]}/auth/sign-out`, {});
    expect(out.status).toBe(200);
    browser.set(cookies[0] ?? '', cookies[1] ?? '');
    expect(await Promise.all(ports.map(ask))).toEqual([401, 401]);
  });

  it('lose and double nothing while one is restarted under load', async () => {
    let stopped = false;
    let made = 0;
    const failures: unknown[] = [];
    const lane = async (lane: number): Promise<void> => {
      for (let n = 0; !stopped; n += 1) {
        const idempotencyKey = `lane-${lane}-request-${n}`;
        const input = { name: `lane ${lane}`, scopes: ['read' as const] };
        try {
          const { key: first } = await must('keys.create', input, { idempotencyKey });
          const { key: again } = await must('keys.create', input, { idempotencyKey });
          if (first.id !== again.id) failures.push(`${idempotencyKey} was carried out twice`);
          await must('tenants.current', {});
          made += 1;
        } catch (error) {
          failures.push(error);
        }
      }
    };
    const lanes = Promise.all([0, 1, 2].map(lane));
    for (const [index, port] of ports.entries()) {
      expect(await processes[index]?.stop()).toBe(0);
      processes[index] = await startApiProcess(environment, port);
    }
    const answered = new Map(balancer.answered);
    await expect
      .poll(
        () => ports.every((port) => (balancer.answered.get(port) ?? 0) > (answered.get(port) ?? 0)),
        {
          timeout: 60_000,
        },
      )
      .toBe(true);
    stopped = true;
    await lanes;
    expect(failures).toEqual([]);
    let listed = 0;
    let cursor: string | undefined;
    do {
      const page = await must('keys.list', { limit: 200, ...(cursor && { cursor }) });
      listed += page.items.filter(({ name }) => name.startsWith('lane ')).length;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
    expect(listed).toBe(made);
  });

  it('lose and double nothing where each is killed under load and requests are repeated', async () => {
    let stopped = false;
    const made = new Map<string, string | null>();
    /**
     * As a client does that has no answer, or is told that its request is still under way; null where it was
     * carried out by a process that was killed before it kept the answer.
     */
    const repeated = async (name: string, idempotencyKey: string): Promise<string | null> => {
      for (;;) {
        const input = { name, scopes: ['read' as const] };
        const answer = await send('keys.create', input, { idempotencyKey }).catch(() => null);
        if (answer?.status === 200) return routes['keys.create'].output.parse(answer.body).key.id;
        if (answer !== null) {
          expect([409, 503]).toContain(answer.status);
          if (problemSchema.parse(answer.body).detail.includes('answer was lost')) return null;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    const lanes = Promise.all(
      [0, 1, 2, 3].map(async (lane) => {
        for (let n = 0; !stopped; n += 1) {
          const name = `killed ${lane} ${n}`;
          made.set(name, await repeated(name, `killed-${lane}-request-${n}`));
        }
      }),
    );
    for (const [index, port] of ports.entries()) {
      const answered = balancer.answered.get(port) ?? 0;
      await expect
        .poll(() => balancer.answered.get(port) ?? 0, { timeout: 60_000 })
        .toBeGreaterThan(answered + 5);
      await processes[index]?.kill();
      processes[index] = await startApiProcess(environment, port);
    }
    stopped = true;
    await lanes;
    const listed: [string, string][] = [];
    let cursor: string | undefined;
    do {
      const page = await must('keys.list', { limit: 200, ...(cursor && { cursor }) });
      listed.push(...page.items.map(({ name, id }): [string, string] => [name, id]));
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
    const killed = listed.filter(([name]) => name.startsWith('killed '));
    expect(killed.map(([name]) => name).sort()).toEqual([...made.keys()].sort());
    for (const [name, id] of killed) expect([id, null]).toContain(made.get(name));
    expect([...made.values()].filter((id) => id === null).length).toBeLessThan(9);
  });
});
