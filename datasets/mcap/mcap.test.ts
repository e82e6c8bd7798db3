import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from '@foxglove/rosmsg';
import { MessageWriter } from '@foxglove/rosmsg2-serialization';
import { type IWritable, McapWriter } from '@mcap/core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  discPicture,
  SMALL_SIZE,
  smallEpisode,
  smallSpec,
} from '../../test/support/small-dataset.ts';
import { type BlobSource, fromDirectory, openDataset, validateSource } from '../index.ts';

const LENGTH = 12;
const STEP_NS = 100_000_000n;
const START_NS = 1_700_000_000_000_000_000n;
const notes = {
  robot_type: 'small_arm',
  fps: 10,
  task: { 'run_1.mcap': 'reach', 'run_2.mcap': 'reach again' },
  state: { topic: '/joints', field: 'position', names: smallSpec.state.map(({ name }) => name) },
  action: { topic: '/goal', field: 'data.joints', names: smallSpec.action.map(({ name }) => name) },
  cameras: { top: '/camera' },
};

const JOINT_STATE = 'float64[] position';
const IMAGE = 'uint32 height\nuint32 width\nstring encoding\nuint32 step\nuint8[] data';

/** A file of memory that the writer fills. */
class Memory implements IWritable {
  bytes: Uint8Array[] = [];
  async write(buffer: Uint8Array): Promise<void> {
    this.bytes.push(buffer.slice());
  }
  position(): bigint {
    return BigInt(this.bytes.reduce((sum, { length }) => sum + length, 0));
  }
}

interface Message {
  topic: '/joints' | '/goal' | '/camera';
  at: bigint;
  value: unknown;
}

/** ROS 2 joints and pictures, a goal as JSON. */
async function mcap(messages: readonly Message[], png = false): Promise<Uint8Array> {
  const memory = new Memory();
  const writer = new McapWriter({ writable: memory, chunkSize: 20_000 });
  await writer.start({ profile: 'ros2', library: 'test' });
  const ros = (definition: string) => new MessageWriter(parse(definition, { ros2: true }));
  const schema = async (name: string, definition: string) =>
    writer.registerSchema({ name, encoding: 'ros2msg', data: Buffer.from(definition) });
  const channel = async (topic: string, schemaId: number, messageEncoding: string) =>
    writer.registerChannel({ topic, schemaId, messageEncoding, metadata: new Map() });
  const json = async (name: string) =>
    writer.registerSchema({ name, encoding: 'jsonschema', data: Buffer.from('{}') });
  const channels = {
    '/joints': await channel('/joints', await schema('JointState', JOINT_STATE), 'cdr'),
    '/goal': await channel('/goal', await json('Goal'), 'json'),
    '/camera': png
      ? await channel('/camera', await json('CompressedImage'), 'json')
      : await channel('/camera', await schema('Image', IMAGE), 'cdr'),
  };
  const writers = { '/joints': ros(JOINT_STATE), '/camera': ros(IMAGE) };
  const inOrder = [...messages].sort((a, b) => Number(a.at - b.at));
  for (const [sequence, { topic, at, value }] of inOrder.entries()) {
    const isJson = topic === '/goal' || (png && topic === '/camera');
    await writer.addMessage({
      channelId: channels[topic],
      sequence,
      logTime: at,
      publishTime: at,
      data: isJson
        ? Buffer.from(JSON.stringify(value))
        : writers[topic as '/joints'].writeMessage(value),
    });
  }
  await writer.end();
  return new Uint8Array(Buffer.concat(memory.bytes));
}

const row = (values: Float32Array, t: number): number[] =>
  Array.from(values.subarray(t * 3, t * 3 + 3));
const image = (data: Uint8Array) => ({
  height: SMALL_SIZE,
  width: SMALL_SIZE,
  encoding: 'rgb8',
  step: SMALL_SIZE * 3,
  data,
});

/** Joints at the set's rate with jitter, goals at half of it, pictures that begin two steps late. */
function recorded(episode: number): Message[] {
  const { state, action } = smallEpisode(episode, LENGTH);
  const jitter = (t: number): bigint => BigInt((t % 3) - 1) * 20_000_000n;
  return Array.from({ length: LENGTH }, (_, t) => {
    const at = START_NS + BigInt(t) * STEP_NS;
    return [
      { topic: '/joints' as const, at: at + jitter(t), value: { position: row(state, t) } },
      ...(t % 2 === 0
        ? [{ topic: '/goal' as const, at, value: { data: { joints: row(action, t) } } }]
        : []),
      ...(t >= 2 ? [{ topic: '/camera' as const, at, value: image(discPicture(episode, t)) }] : []),
    ];
  }).flat();
}

describe('MCAP recordings', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'armature-mcap-'));
    await writeFile(join(folder, 'armature.json'), JSON.stringify(notes));
    await writeFile(join(folder, 'run_1.mcap'), await mcap(recorded(0)));
    await writeFile(join(folder, 'run_2.mcap'), await mcap(recorded(1)));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('are taken at the set’s rate from when all topics have spoken', async () => {
    const files = fromDirectory(folder);
    const elsewhere: BlobSource = { size: files.size, read: files.read, list: files.list };
    const dataset = await openDataset(elsewhere);
    expect(dataset).toMatchObject({
      format: 'mcap',
      tasks: ['reach', 'reach again'],
      cameras: [{ name: 'top', width: SMALL_SIZE, height: SMALL_SIZE }],
    });
    const episode = await dataset.readEpisode(1);
    const { state, action } = smallEpisode(1, LENGTH);
    // From the first picture, at step 2, to the last goal, at step 10.
    expect(episode.length).toBe(9);
    for (let t = 0; t < 9; t += 1) {
      expect(row(episode.state, t)).toEqual(row(state, t + 2));
      expect(row(episode.action, t)).toEqual(row(action, t + 2 - (t % 2)));
    }
    const count = await dataset.decodeFrames(1, 'top', (t, rgb) => {
      expect(Buffer.compare(rgb, discPicture(1, t + 2))).toBe(0);
    });
    expect(count).toBe(9);
    const report = await validateSource(files, smallSpec);
    expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(report.frames).toBe(18);
  });

  it('may hold compressed pictures', async () => {
    const other = await mkdtemp(join(tmpdir(), 'armature-mcap-png-'));
    const messages = await Promise.all(
      recorded(0).map(async (message) => {
        if (message.topic !== '/camera') return message;
        const { data } = message.value as { data: Uint8Array };
        const raw = { width: SMALL_SIZE, height: SMALL_SIZE, channels: 3 } as const;
        const png = await sharp(data, { raw }).png().toBuffer();
        return { ...message, value: { format: 'png', data: png.toString('base64') } };
      }),
    );
    await writeFile(join(other, 'run_1.mcap'), await mcap(messages, true));
    await writeFile(join(other, 'armature.json'), JSON.stringify({ ...notes, task: 'reach' }));
    const dataset = await openDataset(fromDirectory(other));
    const count = await dataset.decodeFrames(0, 'top', (t, rgb) => {
      expect(Buffer.compare(rgb, discPicture(0, t + 2))).toBe(0);
    });
    expect(count).toBe(9);
    await rm(other, { recursive: true });
  });

  const bad: [string, object, () => Promise<Uint8Array>, RegExp][] = [
    ['that is none', {}, async () => Buffer.from('x'.repeat(100)), /no readable MCAP/],
    [
      'that is cut',
      {},
      async () => (await mcap(recorded(0))).subarray(0, 9_000),
      /no readable MCAP/,
    ],
    [
      'without a topic',
      { cameras: { top: '/elsewhere' } },
      () => mcap(recorded(0)),
      /has no topic \/elsewhere; it has \/joints, \/goal, \/camera/,
    ],
    [
      'whose messages have fewer numbers than names',
      { state: { ...notes.state, names: ['one'] } },
      () => mcap(recorded(0)),
      /position of \/joints has 3 numbers, armature.json names 1/,
    ],
    [
      'whose pictures are none',
      { cameras: { top: '/joints' } },
      () => mcap(recorded(0)),
      /message of \/joints that is no picture/,
    ],
  ];
  it.each(bad)('refuse a file %s', async (_name, change, bytes, message) => {
    const other = await mkdtemp(join(tmpdir(), 'armature-mcap-bad-'));
    await writeFile(join(other, 'run_1.mcap'), await bytes());
    await writeFile(join(other, 'armature.json'), JSON.stringify({ ...notes, ...change }));
    const report = await validateSource(fromDirectory(other), smallSpec);
    const faults = report.findings.filter(({ code }) => code === 'broken_file');
    expect(faults[0]?.message).toMatch(message);
    await rm(other, { recursive: true });
  });
});
