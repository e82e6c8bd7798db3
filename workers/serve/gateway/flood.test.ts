import { once } from 'node:events';
import { encodeFrame } from '@armature/sdk/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { jpegOf, observation, TestRobot } from '../testing/robots.ts';
import { startWorker, type TestWorker } from '../testing/worker.ts';

const PINGS = 20;
/** Frames of a flood that may be answered between a ping and its pong: a burst of them, and some more. */
const BETWEEN = 32;

let worker: TestWorker;
let jpeg: Uint8Array<ArrayBuffer>;
let sessions = 0;
beforeAll(async () => {
  worker = await startWorker();
  jpeg = await jpegOf();
});
afterAll(() => worker.stop());

const limits = { max_in_flight: 2, max_hz: 20 };
const token = async () =>
  worker.issuer.sign(
    worker.claims({ sub: `ses_x${++sessions}`, limits, reasoning: { when: 'off' } }),
  );

/** Pings of a robot, and how much `answered` rose between each and its pong. */
async function pinged(robot: TestRobot, answered: () => number): Promise<number[]> {
  const between: number[] = [];
  for (let i = 0; i < PINGS; i++) {
    const before = answered();
    const pong = once(robot.socket, 'pong');
    robot.socket.ping();
    await pong;
    between.push(answered() - before);
  }
  return between;
}

const repeated = (frame: Uint8Array, count: number) => Array.from({ length: count }, () => frame);

describe('a robot beside one that sends without end', () => {
  it.each<[string, () => Promise<Uint8Array[]>]>([
    ['rubbish', async () => repeated(Uint8Array.of(0xc1), 50_000)],
    [
      'observations',
      async () => Array.from({ length: 4_000 }, (_, seq) => encodeFrame(observation(seq, jpeg))),
    ],
    [
      'tokens',
      async () => repeated(encodeFrame({ type: 'refresh', token: await token() }), 20_000),
    ],
    [
      'lists of nothing',
      async () => repeated(encodeFrame(Array.from({ length: 60_000 }, () => ({}))), 100),
    ],
  ])('is answered as ever, be it %s', async (_, frames) => {
    const other = await TestRobot.ready(worker.port, await token());
    const flood = await TestRobot.ready(worker.port, await token());
    const flooded = await frames();
    for (const frame of flooded) flood.socket.send(frame);
    await expect.poll(() => flood.frames.length, { timeout: 20_000 }).toBeGreaterThan(1);
    const between = await pinged(other, () => flood.frames.length);
    expect(between.filter((count) => count <= BETWEEN).length / PINGS).toBeGreaterThan(0.75);
    other.send(observation(0, jpeg));
    expect(await other.answer(0, 20_000)).toMatchObject({ type: 'chunk' });
    expect(flood.frames.length).toBeLessThan(flooded.length);
    flood.socket.terminate();
    other.close();
  });

  it('is answered as ever, be it pings', async () => {
    const other = await TestRobot.ready(worker.port, await token());
    const flood = await TestRobot.ready(worker.port, await token());
    let pongs = 0;
    flood.socket.on('pong', () => (pongs += 1));
    for (let i = 0; i < 100_000; i++) flood.socket.ping();
    await expect.poll(() => pongs, { timeout: 20_000 }).toBeGreaterThan(0);
    // What lay in the socket at once is answered; from then on it is held up.
    const between = await pinged(other, () => pongs);
    expect(between.filter((count) => count <= BETWEEN).length / PINGS).toBeGreaterThan(0.75);
    expect(pongs).toBeLessThan(100_000);
    flood.socket.terminate();
    other.close();
  });

  it('is answered as ever, be it in openpi’s dialect', async () => {
    const other = await TestRobot.ready(worker.port, await token());
    const flood = new WebSocket(`ws://127.0.0.1:${worker.port}/`, {
      headers: { authorization: `Api-Key ${await token()}` },
    });
    const said: string[] = [];
    flood.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) said.push(data.toString());
    });
    await once(flood, 'open');
    for (let i = 0; i < 50_000; i++) flood.send(Uint8Array.of(0xc1));
    const between = await pinged(other, () => said.length);
    expect(Math.max(...between)).toBeLessThanOrEqual(1);
    await expect.poll(() => said.length, { timeout: 20_000 }).toBe(1);
    expect(said).toEqual([expect.stringMatching(/^(invalid_frame|rate_limited): /)]);
    flood.terminate();
    other.close();
  });
});
