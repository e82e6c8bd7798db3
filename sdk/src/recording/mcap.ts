import { McapWriter } from '@mcap/core';
import type { EmbodimentShape } from '../robot/embodiment.ts';
import type { Picture } from '../robot/observation.ts';
import type { RecordedStep, SessionRecorder } from './recorder.ts';

const TIME = {
  type: 'object',
  properties: { sec: { type: 'integer' }, nsec: { type: 'integer' } },
};
const VALUES = {
  type: 'object',
  title: 'armature.Values',
  properties: {
    names: { type: 'array', items: { type: 'string' } },
    units: { type: 'array', items: { type: 'string' } },
    values: { type: 'array', items: { type: 'number' } },
  },
};
const REASONING = {
  type: 'object',
  title: 'armature.Reasoning',
  properties: {
    id: { type: 'string' },
    text: { type: 'string' },
    age_ms: { type: 'number' },
    chunk_id: { type: 'string' },
    step: { type: 'integer' },
    instruction: { type: 'string' },
  },
};
const COMPRESSED = {
  type: 'object',
  title: 'foxglove.CompressedImage',
  properties: {
    timestamp: TIME,
    frame_id: { type: 'string' },
    data: { type: 'string', contentEncoding: 'base64' },
    format: { type: 'string' },
  },
};
const RAW = {
  type: 'object',
  title: 'foxglove.RawImage',
  properties: {
    timestamp: TIME,
    frame_id: { type: 'string' },
    width: { type: 'integer' },
    height: { type: 'integer' },
    encoding: { type: 'string' },
    step: { type: 'integer' },
    data: { type: 'string', contentEncoding: 'base64' },
  },
};

/**
 * A recording as one MCAP file with JSON messages, times those of the recording: `/state`, `/action`
 * (names, units, values), `/reasoning` (with the chunk and step that it drove), `/camera/<name>` as
 * Foxglove's CompressedImage or RawImage.
 */
export async function recordingToMcap<S extends EmbodimentShape>(
  recorder: SessionRecorder<S>,
): Promise<Uint8Array> {
  const sink = new MemoryFile();
  const writer = new McapWriter({ writable: sink, useStatistics: true });
  await writer.start({ profile: '', library: 'armature' });
  const channels = new Channels(writer);
  const { embodiment } = recorder;
  const joints = (list: EmbodimentShape['state']) => ({
    names: list.map(({ name }) => name),
    units: list.map(({ unit }) => unit),
  });
  for (const step of recorder.steps) {
    const put = (topic: string, schema: { readonly title: string }, message: object) =>
      channels.put(topic, schema, step, message);
    await put('/state', VALUES, { ...joints(embodiment.state), values: [...step.state] });
    await put('/action', VALUES, { ...joints(embodiment.action), values: [...step.action] });
    await put('/reasoning', REASONING, {
      ...(step.reasoning ?? {}),
      chunk_id: step.chunkId,
      step: step.step,
      instruction: step.instruction,
    });
    for (const camera of embodiment.cameras) {
      const picture = step.pictures[camera.name];
      if (picture === undefined) continue;
      const schema = 'jpeg' in picture ? COMPRESSED : RAW;
      await put(`/camera/${camera.name}`, schema, imageMessage(step, camera, picture));
    }
  }
  await writer.end();
  return sink.bytes();
}

function imageMessage(
  step: RecordedStep,
  camera: EmbodimentShape['cameras'][number],
  picture: Picture,
): object {
  const head = { timestamp: stamp(step.at), frame_id: camera.name };
  if ('jpeg' in picture) return { ...head, format: 'jpeg', data: base64(picture.jpeg) };
  const { width, height } = camera;
  const data = base64(picture.pixels);
  return { ...head, width, height, encoding: 'rgb8', step: width * 3, data };
}

/** Channels of a file, each registered when its first message comes. */
class Channels {
  private readonly writer: McapWriter;
  private readonly ids = new Map<string, number>();
  private readonly encoder = new TextEncoder();

  constructor(writer: McapWriter) {
    this.writer = writer;
  }

  async put(
    topic: string,
    schema: { readonly title: string },
    step: RecordedStep,
    message: object,
  ): Promise<void> {
    const channelId = this.ids.get(topic) ?? (await this.register(topic, schema));
    const time = BigInt(Math.round(step.at * 1000)) * 1000n;
    await this.writer.addMessage({
      channelId,
      sequence: step.tick,
      publishTime: time,
      logTime: time,
      data: this.encoder.encode(JSON.stringify(message)),
    });
  }

  private async register(topic: string, schema: { readonly title: string }): Promise<number> {
    const schemaId = await this.writer.registerSchema({
      name: schema.title,
      encoding: 'jsonschema',
      data: this.encoder.encode(JSON.stringify(schema)),
    });
    const id = await this.writer.registerChannel({
      schemaId,
      topic,
      messageEncoding: 'json',
      metadata: new Map(),
    });
    this.ids.set(topic, id);
    return id;
  }
}

/** A file in memory, as the writer wants it. */
class MemoryFile {
  private readonly parts: Uint8Array[] = [];
  private size = 0n;

  position(): bigint {
    return this.size;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.parts.push(bytes.slice());
    this.size += BigInt(bytes.byteLength);
  }

  bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.parts));
  }
}

function stamp(ms: number): { sec: number; nsec: number } {
  const sec = Math.floor(ms / 1000);
  return { sec, nsec: Math.round((ms - sec * 1000) * 1e6) };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
