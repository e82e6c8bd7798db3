import { McapStreamReader, type McapTypes } from '@mcap/core';
import { parquetReadObjects } from 'hyparquet';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { arm, jpeg, seen } from '../testing/two-joint-arm.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { Chunk } from '../robot/chunk.ts';
import { actionRows } from '../robot/observation.ts';
import { runLoop } from '../robot/run.ts';
import { StatsCounter } from '../robot/stats.ts';
import { lerobotEpisode } from './lerobot.ts';
import { recordingToMcap } from './mcap.ts';
import { encodePng } from './png.ts';
import { SessionRecorder } from './recorder.ts';

type Arm = typeof arm;
const TICKS = 20;
let recorder: SessionRecorder<Arm>;
const executed: number[] = [];

/** A run of the control loop in virtual time with two instructions and a reasoning a chunk. */
beforeAll(async () => {
  const clock = new VirtualClock();
  recorder = new SessionRecorder(arm, { now: () => 1_700_000_000_000 + clock.now() });
  let asked = 0;
  await clock.until(
    runLoop(
      {
        embodiment: arm,
        status: 'ready',
        async act(_, { signal }): Promise<Chunk<Arm>> {
          const n = asked++;
          await clock.sleep(30, signal);
          const actions = Float32Array.from({ length: 16 }, (_, i) => n + i / 100);
          return {
            chunkId: `ses:1:${n}`,
            seq: n,
            epoch: 1,
            actions,
            rows: actionRows(arm, actions),
            reasoning: n === 1 ? null : { id: `r${n}`, text: `reach ${n}`, age_ms: 4 },
            policyVersion: 'pv',
            statsHash: 's',
            clamped: 0,
            timings: { decode_ms: 0, queue_ms: 0, infer_ms: 0, total_ms: 0, batch: 1 },
            latencyMs: 30,
            capturedAt: 0,
          };
        },
        report: () => undefined,
      },
      new StatsCounter(),
      {
        clock,
        observe: ({ tick }) => ({
          ...seen(tick / 10),
          ...(tick === 0 ? { instruction: 'lift' } : tick === 12 ? { instruction: 'drop' } : {}),
        }),
        execute: (row) => {
          executed.push(row.shoulder);
        },
        record: recorder,
        ticks: TICKS,
      },
    ),
  );
});

async function messages(bytes: Uint8Array) {
  const reader = new McapStreamReader();
  reader.append(bytes);
  const topics = new Map<number, string>();
  const found: { topic: string; time: bigint; value: Record<string, unknown> }[] = [];
  for (let record: McapTypes.TypedMcapRecord | undefined; (record = reader.nextRecord());) {
    if (record.type === 'Channel') topics.set(record.id, record.topic);
    if (record.type !== 'Message') continue;
    found.push({
      topic: topics.get(record.channelId) ?? '',
      time: record.logTime,
      value: JSON.parse(Buffer.from(record.data).toString()) as Record<string, unknown>,
    });
  }
  expect(reader.done()).toBe(true);
  return found;
}

describe('a recording', () => {
  it('holds what was executed with what was seen at that tick', () => {
    expect(recorder.steps).toHaveLength(TICKS);
    expect(recorder.steps.map((step) => step.action[0])).toEqual(
      executed.map((value) => Math.fround(value)),
    );
    expect(recorder.steps.map((step) => step.state[0])).toEqual(
      recorder.steps.map((step) => Math.fround(step.tick / 10)),
    );
    expect(recorder.steps.map((step) => step.instruction)).toEqual([
      ...new Array<string>(12).fill('lift'),
      ...new Array<string>(8).fill('drop'),
    ]);
  });

  it('keeps no more than it was told to, and says so', () => {
    const small = new SessionRecorder(arm, { maxSteps: 1 });
    const [step] = recorder.steps;
    const chunk = { chunkId: 'c', reasoning: null } as Chunk<Arm>;
    for (let i = 0; i < 3; i++) {
      const action = step?.action ?? new Float32Array(2);
      small.add({ observation: seen(), action, chunk, step: 0, tick: i });
    }
    expect([small.steps.length, small.lost]).toEqual([1, 2]);
  });

  it('is an MCAP file with every channel, in time, reasoning included', async () => {
    const found = await messages(await recordingToMcap(recorder));
    const of = (topic: string) => found.filter((message) => message.topic === topic);
    expect(new Set(found.map(({ topic }) => topic))).toEqual(
      new Set(['/state', '/action', '/reasoning', '/camera/top', '/camera/wrist']),
    );
    for (const topic of ['/state', '/action', '/reasoning', '/camera/top', '/camera/wrist']) {
      expect(of(topic)).toHaveLength(TICKS);
    }
    expect(of('/action').map(({ value }) => (value['values'] as number[])[0])).toEqual(
      recorder.steps.map((step) => step.action[0]),
    );
    expect(of('/action')[0]?.value).toMatchObject({
      names: ['shoulder', 'gripper'],
      units: ['rad', 'ratio'],
    });
    expect(of('/reasoning')[0]?.value).toMatchObject({
      id: 'r0',
      text: 'reach 0',
      age_ms: 4,
      chunk_id: 'ses:1:0',
      step: 0,
      instruction: 'lift',
    });
    expect(of('/camera/top')[0]?.value).toMatchObject({
      format: 'jpeg',
      data: Buffer.from(jpeg).toString('base64'),
    });
    expect(of('/camera/wrist')[0]?.value).toMatchObject({ width: 8, height: 8, encoding: 'rgb8' });
    const times = of('/state').map(({ time }) => time);
    expect(times[0]).toBe(BigInt(recorder.steps[0]?.at ?? 0) * 1_000_000n);
    expect(times.every((time, i) => i === 0 || time > (times[i - 1] ?? 0n))).toBe(true);
  });

  it('is a LeRobot episode: table, description, tasks, statistics, reasonings', async () => {
    const files = lerobotEpisode(recorder);
    const table = files.get('data/chunk-000/episode_000000.parquet');
    if (!(table instanceof Uint8Array)) throw new Error('no table');
    const rows = await parquetReadObjects({
      file: table.slice().buffer,
      utf8: false,
    });
    expect(rows).toHaveLength(TICKS);
    expect(rows.map((row) => (row['action'] as number[])[0])).toEqual(
      recorder.steps.map((step) => step.action[0]),
    );
    expect(rows.map((row) => Number(row['task_index']))).toEqual([
      ...new Array<number>(12).fill(0),
      ...new Array<number>(8).fill(1),
    ]);
    expect(rows[3]?.['timestamp']).toBeCloseTo(3 / 50);
    const top = rows[0]?.['observation.images.top'] as { bytes: Uint8Array; path: string };
    expect([new Uint8Array(top.bytes), top.path]).toEqual([jpeg, 'frame_000000.jpg']);
    const lines = (name: string) =>
      String(files.get(name))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown);
    expect(lines('meta/tasks.jsonl')).toEqual([
      { task_index: 0, task: 'lift' },
      { task_index: 1, task: 'drop' },
    ]);
    expect(lines('meta/episodes.jsonl')).toEqual([
      { episode_index: 0, tasks: ['lift', 'drop'], length: TICKS },
    ]);
    const [{ labels }] = lines('meta/labels.jsonl') as [
      { labels: { from: number; to: number; text: string }[] },
    ];
    expect(labels[0]).toMatchObject({ from: 0, text: 'reach 0', source: 'policy:r0' });
    expect(labels.some(({ text }) => text === 'reach 1')).toBe(false);
    expect(JSON.parse(String(files.get('meta/info.json')))).toMatchObject({
      codebase_version: 'v2.1',
      fps: 50,
      total_frames: TICKS,
      features: { 'observation.images.wrist': { dtype: 'image', shape: [8, 8, 3] } },
    });
  });

  it('refuses to be an episode when nothing was executed', () => {
    expect(() => lerobotEpisode(new SessionRecorder(arm))).toThrow(/no executed action/);
  });

  it('writes pixels as PNG files that others read', async () => {
    const pixels = Uint8Array.from({ length: 5 * 4 * 3 }, (_, i) => (i * 37) % 256);
    const { data, info } = await sharp(encodePng(pixels, 5, 4))
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect([info.width, info.height, info.channels]).toEqual([5, 4, 3]);
    expect(new Uint8Array(data)).toEqual(pixels);
  });
});
