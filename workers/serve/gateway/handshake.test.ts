import { once } from 'node:events';
import { ROBOT_PATH, ROBOT_SUBPROTOCOL } from '@armature/sdk/contract';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ImagePool } from '../images/index.ts';
import { jpegOf, observation, TestRobot } from '../testing/robots.ts';
import { startWorker, type TestWorker } from '../testing/worker.ts';
import type { OpenpiGrant } from './openpi/access.ts';
import { exchange, rawSocket, upgradeHead } from './testing/raw.ts';

let worker: TestWorker;
let images: ImagePool;
let sessions = 0;
/** Sessions that were made for openpi clients at the control plane, and those ended there. */
let made: string[] = [];
let ended: string[] = [];
/** What the control plane takes its time for. */
let answer: () => Promise<void> = () => Promise.resolve();

beforeAll(async () => {
  images = await ImagePool.start(1, () => undefined);
});
afterAll(() => images.close());
beforeEach(async () => {
  [made, ended] = [[], []];
  answer = () => Promise.resolve();
  worker = await startWorker({ images, openpi: () => ({ open: grant }) });
});
afterEach(() => worker.stop());

async function grant(): Promise<OpenpiGrant> {
  const claims = worker.claims({ sub: `ses_h${++sessions}` });
  made.push(claims.sub);
  await answer();
  const end = () => void ended.push(claims.sub);
  return { token: { claims, expiresAt: Date.now() + 600_000 }, end };
}
const token = async () =>
  worker.issuer.sign(worker.claims({ sub: `ses_h${++sessions}`, reasoning: { when: 'off' } }));
const robotHead = async (over: Readonly<Record<string, string | undefined>> = {}) =>
  upgradeHead(ROBOT_PATH, {
    Authorization: `Bearer ${await token()}`,
    'Sec-WebSocket-Protocol': ROBOT_SUBPROTOCOL,
    ...over,
  });
const eventually = (read: () => unknown) => expect.poll(read, { interval: 2, timeout: 20_000 });

describe('a request whose target is no URL', () => {
  it.each(['//', 'http://', '//:99999/', 'http://[/'])(
    'is refused, asked for as %s, and the robots stay',
    async (target) => {
      const robot = await TestRobot.ready(worker.port, await token());
      const plain = `GET ${target} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n`;
      expect(await exchange(worker.port, plain)).toMatch(
        /^HTTP\/1\.1 400 [^]*"code":"invalid_request"/,
      );
      expect(await exchange(worker.port, upgradeHead(target))).toMatch(/^HTTP\/1\.1 400 /);
      robot.send(observation(0, await jpegOf()));
      expect(await robot.answer(0)).toMatchObject({ type: 'chunk' });
    },
  );
});

describe('an upgrade that is not finished', () => {
  it.each<[string, Readonly<Record<string, string | undefined>>]>([
    ['a wrong key', { 'Sec-WebSocket-Key': 'short' }],
    ['no key', { 'Sec-WebSocket-Key': undefined }],
    ['a version that is not spoken', { 'Sec-WebSocket-Version': '99' }],
    ['another protocol', { Upgrade: 'h2c' }],
    ['subprotocols that are none', { 'Sec-WebSocket-Protocol': `${ROBOT_SUBPROTOCOL},,` }],
  ])('keeps no place, and no session of openpi’s, with %s', async (_, over) => {
    const free = worker.gateway.places;
    expect(await exchange(worker.port, await robotHead(over))).toMatch(/^HTTP\/1\.1 400 /);
    const { 'Sec-WebSocket-Protocol': __, ...openpi } = over;
    if (Object.keys(openpi).length > 0) {
      expect(await exchange(worker.port, upgradeHead('/', openpi))).toMatch(/^HTTP\/1\.1 400 /);
      expect(made).toHaveLength(1);
    }
    expect(worker.gateway.places).toEqual(free);
    await eventually(() => ended).toEqual(made);
  });

  it('keeps neither where the client has gone meanwhile', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    answer = () => held;
    for (let i = 0; i < 5; i++) {
      const socket = await rawSocket(worker.port);
      socket.write(upgradeHead('/'));
      await eventually(() => made.length).toBe(i + 1);
      socket.destroy();
      await once(socket, 'close');
    }
    // The worker has been told of the last one's end once it answers somebody who came after it.
    expect((await fetch(`http://127.0.0.1:${worker.port}/readyz`)).status).toBe(200);
    release();
    await eventually(() => ended.toSorted()).toEqual(made.toSorted());
    await eventually(() => worker.gateway.sessions).toBe(0);
    expect(worker.gateway.places.allocated).toBe(0);
  });

  it('leaves a session of openpi’s behind neither when the worker drains meanwhile', async () => {
    answer = async () => worker.gateway.beginDrain('stopping');
    expect(await exchange(worker.port, upgradeHead('/'))).toMatch(/^HTTP\/1\.1 503 /);
    await eventually(() => ended).toEqual(made);
    expect(made).toHaveLength(1);
  });

  it('takes nothing from the robot that is connected in an earlier epoch', async () => {
    const claims = worker.claims({ sub: `ses_h${++sessions}`, reasoning: { when: 'off' } });
    const robot = await TestRobot.ready(worker.port, await worker.issuer.sign(claims));
    const next = await worker.issuer.sign({ ...claims, epoch: 2 });
    const head = await robotHead({
      Authorization: `Bearer ${next}`,
      'Sec-WebSocket-Key': undefined,
    });
    expect(await exchange(worker.port, head)).toMatch(/^HTTP\/1\.1 400 /);
    expect(worker.gateway.places.allocated).toBe(1);
    robot.send(observation(0, await jpegOf()));
    expect(await robot.answer(0)).toMatchObject({ type: 'chunk' });
  });
});
