import { execFile } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parse } from '@foxglove/rosmsg';
import { MessageWriter } from '@foxglove/rosmsg2-serialization';
import { McapWriter } from '@mcap/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { smallEpisode, smallSpec } from '../../test/support/small-dataset.ts';

/** Recordings of raw pictures that no compression makes small, one of few frames and one of many. */
const [FEW, MANY] = [60, 660];
const [WIDTH, HEIGHT] = [320, 240];
const PICTURE = WIDTH * HEIGHT * 3;
const names = smallSpec.state.map(({ name }) => name);
const spec = {
  ...smallSpec,
  cameras: [{ ...smallSpec.cameras[0], width: WIDTH, height: HEIGHT }],
};
const noise = (): Uint8Array => randomFillSync(new Uint8Array(PICTURE));

async function writeMcap(folder: string, frames: number): Promise<void> {
  const vector = (topic: string) => ({ topic, field: 'position', names });
  const notes = { robot_type: 'arm', fps: 10, task: 'move', cameras: { top: '/camera' } };
  await writeFile(
    join(folder, 'armature.json'),
    JSON.stringify({ ...notes, state: vector('/joints'), action: vector('/goal') }),
  );
  const path = join(folder, 'run_1.mcap');
  let written = 0;
  const writer = new McapWriter({
    writable: {
      write: (bytes) => {
        appendFileSync(path, bytes);
        written += bytes.length;
        return Promise.resolve();
      },
      position: () => BigInt(written),
    },
    chunkSize: 1 << 20,
  });
  await writer.start({ profile: 'ros2', library: 'test' });
  const register = async (topic: string, definition: string) => {
    const data = Buffer.from(definition);
    const schemaId = await writer.registerSchema({ name: topic, encoding: 'ros2msg', data });
    const about = { topic, schemaId, messageEncoding: 'cdr', metadata: new Map<string, string>() };
    const channelId = await writer.registerChannel(about);
    const message = new MessageWriter(parse(definition, { ros2: true }));
    return (t: number, value: unknown) =>
      writer.addMessage({
        channelId,
        sequence: t,
        logTime: BigInt(t) * 100_000_000n,
        publishTime: BigInt(t) * 100_000_000n,
        data: message.writeMessage(value),
      });
  };
  const joints = await register('/joints', 'float64[] position');
  const goal = await register('/goal', 'float64[] position');
  const camera = await register(
    '/camera',
    'uint32 height\nuint32 width\nstring encoding\nuint32 step\nuint8[] data',
  );
  const { state, action } = smallEpisode(0, frames);
  for (let t = 0; t < frames; t += 1) {
    await joints(t, { position: [...state.subarray(t * 3, t * 3 + 3)] });
    await goal(t, { position: [...action.subarray(t * 3, t * 3 + 3)] });
    const picture = { height: HEIGHT, width: WIDTH, encoding: 'rgb8', step: WIDTH * 3 };
    await camera(t, { ...picture, data: noise() });
  }
  await writer.end();
}

let parent: string;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'armature-long-'));
});
afterAll(() => rm(parent, { recursive: true, force: true }));

it('MCAP files of many frames take no more memory than of few', async () => {
  const validate = async (frames: number): Promise<number> => {
    const folder = join(parent, String(frames));
    await mkdir(folder);
    await writeMcap(folder, frames);
    const script = fileURLToPath(new URL('../../test/support/validate-folder.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--import',
      'tsx',
      script,
      folder,
      JSON.stringify(spec),
    ]);
    const seen = JSON.parse(stdout) as { frames: number; peakMib: number };
    expect(seen.frames).toBe(frames);
    return seen.peakMib;
  };
  const few = await validate(FEW);
  const many = await validate(MANY);
  const more = ((MANY - FEW) * PICTURE) / 2 ** 20;
  expect(more).toBeGreaterThan(130);
  expect(many - few).toBeLessThan(more / 3);
});
